//! The check at the end: what an analyst's engine would read against what was sent and acknowledged.
//!
//! Read are the files below the locations that the catalog gives for the table's partitions, all of
//! them, as Athena reads them, with the `parquet` and `arrow` crates; partitions' values are derived
//! again from event times, by code of its own.

mod expected;
mod tally;

use std::sync::Arc;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};
use weir::catalog::Catalog;
use weir::commit::LakeStore;
use weir::naming::{QUARANTINE_TABLE, live_prefix};
use weir::schema::Granularity;

use crate::generate::Plan;
use crate::run::ledger::{Ledger, Sent};
use crate::run::schedule::Schedule;
use crate::watch::rows::{self, Wanted};
use expected::PartitionOf;
use tally::Tally;

/// Numbers named in a finding.
const NAMED: usize = 10;

/// Events of one kind of wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How many.
    pub events: u64,
    /// Some of their numbers.
    pub numbers: Vec<u64>,
}

impl Finding {
    fn add(&mut self, number: u64) {
        self.events += 1;
        if self.numbers.len() < NAMED {
            self.numbers.push(number);
        }
    }
}

/// What the lake holds of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Files read.
    pub files: u64,
    /// Rows of the run.
    pub rows: u64,
    /// Dead letters of the run.
    pub letters: u64,
    /// Events checked.
    pub events: u64,
    /// Acknowledged, and neither a row nor a dead letter.
    pub lost: Finding,
    /// More rows than puts that may have been stored.
    pub duplicated: Finding,
    /// In a partition that is not its event time's.
    pub misfiled: Finding,
    /// Good, and a dead letter.
    pub wrongly_quarantined: Finding,
    /// Bad, and a row.
    pub wrongly_accepted: Finding,
    /// Never sent, or not taken by the target, and there all the same.
    pub unsent: Finding,
    /// In live files of a closed partition: the next revision shows them.
    pub waiting_for_close: u64,
}

impl Truth {
    /// Whether every event is where it belongs, once.
    pub fn holds(&self) -> bool {
        self.wrong().iter().all(|(_, finding)| finding.events == 0)
    }

    /// Each kind of wrong by its name.
    pub fn wrong(&self) -> [(&'static str, &Finding); 6] {
        [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("misfiled", &self.misfiled),
            ("wrongly quarantined", &self.wrongly_quarantined),
            ("wrongly accepted", &self.wrongly_accepted),
            ("never sent", &self.unsent),
        ]
    }
}

/// What is checked against what.
pub(crate) struct Check<'a> {
    pub(crate) lake: &'a LakeStore,
    pub(crate) catalog: &'a Arc<dyn Catalog>,
    pub(crate) plan: &'a Plan,
    pub(crate) schedule: &'a Schedule,
    pub(crate) started_us: i64,
    pub(crate) ledger: &'a Ledger,
}

/// A folder of files and the partition it is.
struct Folder {
    prefix: String,
    values: Vec<String>,
    closed: bool,
}

impl Check<'_> {
    /// Read everything and compare.
    pub(crate) async fn run(&self) -> Result<Truth> {
        let (mut truth, mut tally) = (Truth::default(), Tally::default());
        for folder in self.folders(&self.plan.table.name).await? {
            self.read_folder(&folder, &mut tally, &mut truth).await?;
        }
        let letters = self.folders(QUARANTINE_TABLE).await?;
        for folder in letters.iter().filter(|f| f.values.first() == Some(&self.plan.table.name)) {
            for key in self.files(&folder.prefix).await? {
                let bytes = self.get(&key).await?;
                truth.files += 1;
                rows::read_letters(bytes, self.plan.tag, &self.plan.carrier, |number| {
                    truth.letters += 1;
                    tally.letter(number);
                })
                .with_context(|| format!("could not read {key}"))?;
            }
        }
        let waiting = self.waiting(&tally).await?;
        self.judge(&tally, &waiting, &mut truth);
        Ok(truth)
    }

    async fn read_folder(&self, folder: &Folder, tally: &mut Tally, truth: &mut Truth) -> Result<()> {
        let table = &self.plan.table;
        let name = |at: usize| table.columns[at].name.as_str();
        let time_key = table.partition_keys.iter().find(|k| k.granularity != Granularity::Identity);
        let wanted = Wanted {
            tag: self.plan.tag,
            carrier: &self.plan.carrier,
            times: [table.event_time.map(name), time_key.map(|k| name(k.column))],
        };
        let mut partition_of = PartitionOf::new(table, &folder.values);
        for key in self.files(&folder.prefix).await? {
            let bytes = self.get(&key).await?;
            truth.files += 1;
            let read = rows::read(bytes, &wanted, |row| {
                truth.rows += 1;
                tally.row(row.number, folder.closed);
                let is_known = self.plan.lines.is_none() && self.plan.says_its_time();
                let sent = is_known.then(|| self.sent_time(row.number));
                if !partition_of.is_right(row.times[1], sent) {
                    truth.misfiled.add(row.number);
                }
            });
            read.with_context(|| format!("could not read {key}"))?;
        }
        Ok(())
    }

    /// The event time that the event was made with.
    fn sent_time(&self, number: u64) -> i64 {
        let intended = weir::clock::EpochMicros(self.started_us + self.schedule.intended_us(number));
        self.plan.event(number, intended).time.0
    }

    fn judge(&self, tally: &Tally, waiting: &Tally, truth: &mut Truth) {
        let deduped = !self.plan.table.dedupe_key.is_empty();
        for number in 0..self.ledger.end().max(tally.end()) {
            let (rows, letters, sent) = (tally.rows(number), tally.letters(number), self.ledger.of(number));
            if sent == Sent::Not {
                // Of two copies that were both refused nothing may be there either.
                if rows + letters > 0 {
                    truth.unsent.add(number);
                }
                continue;
            }
            truth.events += 1;
            let fate = self.plan.event(number, weir::clock::EpochMicros(0)).fate;
            let copies = if fate.twice { 2 } else { 1 };
            let is_good = fate.kind.is_good();
            let (right, wrong) = if is_good { (rows, letters) } else { (letters, rows) };
            let least = match sent {
                Sent::Acknowledged if is_good && deduped && tally.in_closed(number) => 1,
                Sent::Acknowledged => copies,
                Sent::AcknowledgedPerhapsTwice => 1,
                Sent::Unknown | Sent::Not => 0,
            };
            if wrong > 0 {
                match is_good {
                    true => truth.wrongly_quarantined.add(number),
                    false => truth.wrongly_accepted.add(number),
                }
            } else if right < least {
                match is_good && waiting.rows(number) + right >= least {
                    true => truth.waiting_for_close += 1,
                    false => truth.lost.add(number),
                }
            }
            if sent == Sent::Acknowledged && right > copies {
                truth.duplicated.add(number);
            }
        }
    }

    /// Rows in live files below closed partitions, which engines don't read.
    async fn waiting(&self, tally: &Tally) -> Result<Tally> {
        let mut waiting = Tally::default();
        if !tally.any_closed() {
            return Ok(waiting);
        }
        let wanted = Wanted { tag: self.plan.tag, carrier: &self.plan.carrier, times: [None; 2] };
        for key in self.files(&live_prefix(&self.plan.table.name)).await? {
            let bytes = self.get(&key).await?;
            rows::read(bytes, &wanted, |row| waiting.row(row.number, false))?;
        }
        Ok(waiting)
    }

    /// Where the catalog says that a table's files are.
    async fn folders(&self, table: &str) -> Result<Vec<Folder>> {
        let Some(definition) = self.catalog.definition(table).await? else { return Ok(Vec::new()) };
        if definition.partition_keys.is_empty() {
            return Ok(vec![Folder { prefix: live_prefix(table), values: Vec::new(), closed: false }]);
        }
        let partitions = self.catalog.partitions(table).await?;
        let folders = partitions.into_iter().map(|partition| {
            let location = partition.storage_descriptor.location;
            // Everything below the table's folder: a copy of a lake keeps the addresses of its original.
            let marker = format!("/{table}/");
            let at = location.rfind(&marker).map_or(0, |at| at + 1);
            let prefix = location[at..].trim_end_matches('/').to_owned();
            let closed = !prefix.starts_with(&live_prefix(table));
            Folder { prefix, values: partition.values, closed }
        });
        Ok(folders.collect())
    }

    async fn files(&self, prefix: &str) -> Result<Vec<object_store::path::Path>> {
        let path = self.lake.path(prefix)?;
        let store = self.lake.object_store();
        let all: Vec<_> = store.list(Some(&path)).try_collect().await?;
        let files = all.into_iter().map(|meta| meta.location).filter(|l| l.as_ref().ends_with(".parquet"));
        Ok(files.collect())
    }

    async fn get(&self, path: &object_store::path::Path) -> Result<bytes::Bytes> {
        let found =
            self.lake.object_store().get(path).await.with_context(|| format!("could not read {path}"))?;
        Ok(found.bytes().await?)
    }
}
