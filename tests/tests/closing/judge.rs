//! What readers see, and what lies there in the end, against what was committed.

use std::collections::{BTreeMap, BTreeSet};

use weir::catalog::{Catalog, FolderCatalog, Partition};
use weir::close::{Plan, RevisionResult};
use weir::commit::format::Commit;
use weir::commit::{LakeStore, PositionSet};
use weir::naming::closed::{CloseObject, ClosePrefix};
use weir::naming::{ChainKey, LogEntry};

use super::broken::{Broken, Violation};
use super::parts::{SHARD, STREAM};
use super::store::Call;
use super::world::{HOUR, LATENESS, Process, TABLE, World, now, partition, values};

/// What a reader that follows the catalog got.
pub(crate) struct Seen {
    pub(crate) hour: i64,
    pub(crate) revision: u32,
    pub(crate) rows: Vec<String>,
    pub(crate) missing: Option<String>,
}

fn broken<T>(invariant: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { invariant, what })
}

impl World {
    /// Record → version and hour, of all commits.
    pub(crate) fn committed(&mut self) -> BTreeMap<u64, (u64, i64)> {
        let objects = self.objects.lock().unwrap();
        let chain = ChainKey { stream: STREAM.into(), shard: SHARD.into() };
        let records = self.clicks.records.lock().unwrap();
        for version in self.versions + 1.. {
            let key = chain.object(LogEntry::Commit(version));
            let Some((bytes, _)) = objects.objects.get(&key) else { break };
            let PositionSet::Exact(numbers) = Commit::decode(&key, bytes).unwrap().set(&key).unwrap() else {
                unreachable!("a stream's positions")
            };
            for number in numbers {
                let number = number.as_u64().unwrap();
                self.commits.insert(number, (version, records[number as usize - 1].hour));
            }
            self.versions = version;
        }
        self.commits.clone()
    }

    fn plan(&self, hour: i64, revision: u32) -> Option<Plan> {
        let key = ClosePrefix::of(TABLE, &partition(hour)).object(revision, &CloseObject::Plan);
        let objects = self.objects.lock().unwrap();
        objects.objects.get(&key).map(|(bytes, _)| serde_json::from_slice(bytes).unwrap())
    }

    /// The one directory of a revision.
    fn winner(&self, hour: i64, revision: u32) -> Option<String> {
        let key = ClosePrefix::of(TABLE, &partition(hour)).object(revision, &CloseObject::Result);
        let objects = self.objects.lock().unwrap();
        let result = objects.objects.get(&key).map(|(bytes, _)| serde_json::from_slice(bytes).unwrap());
        result.map(|result: RevisionResult| result.directory)
    }

    /// C4 of an entry that somebody has just written.
    pub(crate) fn judge_entry(&self, call: &Call) -> Result<(), Violation> {
        let Call::Put { key, .. } = call else { return Ok(()) };
        let Some(name) = key.strip_prefix("_weir/catalog/partitions/t/") else { return Ok(()) };
        let hours: BTreeSet<i64> = self.clicks.records.lock().unwrap().iter().map(|r| r.hour).collect();
        let hour = hours.into_iter().find(|hour| *name == format!("{}.json", partition(*hour)));
        let Some(hour) = hour else { return Ok(()) };
        let entry: Option<Partition> = {
            let objects = self.objects.lock().unwrap();
            objects.objects.get(key).map(|(bytes, _)| serde_json::from_slice(bytes).unwrap())
        };
        let Some(entry) = entry.filter(|entry| entry.revision() > 0) else { return Ok(()) };
        let shown = folder(&entry);
        match self.winner(hour, entry.revision()) {
            Some(winner) if winner == shown => Ok(()),
            winner => broken(
                "C4",
                format!("hour {hour} r{} is {winner:?}, and the catalog shows {shown}", entry.revision()),
            ),
        }
    }

    /// C4 of a reader.
    pub(crate) fn judge(&mut self, process: &Process, seen: &Seen) -> Result<(), Violation> {
        self.stats.reads += 1;
        let Seen { hour, revision, rows, missing } = seen;
        if let Some(key) = missing.as_ref().filter(|_| *revision > 0 || !self.uncommitted(missing)) {
            return broken("C4", format!("a reader of hour {hour} r{revision} lost {key} while it read"));
        }
        if !self.sleepers
            && self.broken != Broken::Nothing
            && *revision < process.floor.get(hour).copied().unwrap_or(0)
        {
            return broken("C4", format!("hour {hour} goes back to r{revision}"));
        }
        let shown = self.seen.entry(*hour).or_default();
        *shown = (*revision).max(*shown);
        let committed = self.committed();
        let mut got: Vec<u64> = rows.iter().map(|row| row.parse().unwrap()).collect();
        got.sort_unstable();
        if *revision > 0 {
            let Some(plan) = self.plan(*hour, *revision) else {
                return broken("C4", format!("hour {hour} shows r{revision}, which nobody planned"));
            };
            let covered = plan.vector.of(&ChainKey { stream: STREAM.into(), shard: SHARD.into() });
            let want: Vec<u64> = committed
                .iter()
                .filter(|(_, (version, of))| of == hour && *version <= covered)
                .map(|(number, _)| *number)
                .collect();
            if got != want {
                return broken(
                    "C4",
                    format!("hour {hour} r{revision}: readers see {got:?}, it holds {want:?}"),
                );
            }
            return Ok(());
        }
        let got: BTreeSet<u64> = got.into_iter().collect();
        let must = process.must.iter().filter(|number| committed[number].1 == *hour);
        match must.copied().find(|number| !got.contains(number)) {
            Some(number) => broken("C4", format!("hour {hour} live: record {number} is not seen in {got:?}")),
            None => Ok(()),
        }
    }

    /// A live file that no commit lists may go while it is read (C5).
    fn uncommitted(&self, key: &Option<String>) -> bool {
        let Some(key) = key else { return false };
        let objects = self.objects.lock().unwrap();
        let commits = objects.objects.iter().filter(|(name, _)| name.ends_with(".commit"));
        let mut headers = commits.map(|(name, (bytes, _))| Commit::decode(name, bytes).unwrap().header);
        !headers.any(|header| header.files.iter().any(|file| file.key() == *key))
    }

    /// C4, C6 and C7 once everything is at rest.
    pub(crate) fn judge_end(&mut self) -> Result<(), Violation> {
        let committed = self.committed();
        let hours: BTreeSet<i64> = committed.values().map(|(_, hour)| *hour).collect();
        if committed.len() != self.clicks.records.lock().unwrap().len() {
            return broken("C1", format!("{} records are committed", committed.len()));
        }
        for hour in hours {
            let (lake, catalog) = (self.lake(0), self.catalog(0));
            let seen = now(read(lake, catalog, hour));
            let Some(seen) = seen else { return broken("C7", format!("hour {hour} is not in the catalog")) };
            let mut got: Vec<u64> = seen.rows.iter().map(|row| row.parse().unwrap()).collect();
            got.sort_unstable();
            let want = committed.iter().filter(|(_, (_, of))| *of == hour).map(|(number, _)| *number);
            let want: Vec<u64> = want.collect();
            if seen.revision == 0 || got != want {
                return broken("C7", format!("hour {hour} r{}: {got:?} of {want:?}", seen.revision));
            }
            self.stats.revisions += u64::from(seen.revision);
            self.judge_revisions(hour, seen.revision, &committed)?;
        }
        Ok(())
    }

    fn judge_revisions(
        &self,
        hour: i64,
        newest: u32,
        committed: &BTreeMap<u64, (u64, i64)>,
    ) -> Result<(), Violation> {
        let chain = ChainKey { stream: STREAM.into(), shard: SHARD.into() };
        let records = self.clicks.records.lock().unwrap();
        for revision in 1..=newest {
            let Some(plan) = self.plan(hour, revision) else {
                return broken("C6", format!("r{revision} of {hour}"));
            };
            if revision == 1 && self.broken == Broken::Nothing {
                let left_out = committed.iter().find(|(number, (version, of))| {
                    let in_time = records[**number as usize - 1].arrived < (hour + 1) * HOUR + LATENESS;
                    *of == hour && in_time && *version > plan.vector.of(&chain)
                });
                if let Some((number, _)) = left_out {
                    return broken(
                        "C4",
                        format!("hour {hour} was closed without record {number}, which came in time"),
                    );
                }
            }
            let objects = self.objects.lock().unwrap();
            let end = format!("-r{revision}");
            let of = |id: &str| match self.broken {
                Broken::Nothing => id == closed_id(hour, revision),
                _ => id == format!("{}{end}", partition(hour)).replace(['=', '/'], "-"),
            };
            let runs = objects.objects.keys().filter(|key| {
                key.strip_prefix("service/")
                    .and_then(|rest| rest.split_once('/'))
                    .is_some_and(|(id, _)| of(id))
            });
            match runs.count() {
                1 => {}
                n => {
                    return broken(
                        "C6",
                        format!("the action of hour {hour} r{revision} was started {n} times"),
                    );
                }
            }
        }
        Ok(())
    }
}

fn closed_id(hour: i64, revision: u32) -> String {
    let of = weir::naming::closed::fingerprint(&["memory:", TABLE, partition(hour).as_str(), "event"]);
    format!("weir-{of}-r{revision}")
}

pub(crate) async fn read(lake: LakeStore, catalog: FolderCatalog, hour: i64) -> Option<Seen> {
    let partition = partition(hour);
    let entry = catalog.partition(TABLE, &values(&partition)).await.ok()?;
    let (revision, folder) = match entry {
        Some(entry) => (entry.revision(), folder(&entry)),
        None => (0, weir::naming::partition_prefix(TABLE, &partition)),
    };
    let (mut rows, mut missing) = (Vec::new(), None);
    for key in lake.list(&folder).await.ok()? {
        match lake.get(&key).await.ok()? {
            Some(bytes) => rows.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned)),
            None => missing = Some(key),
        }
    }
    Some(Seen { hour, revision, rows, missing })
}

/// Where readers are sent, below the lake.
fn folder(entry: &Partition) -> String {
    entry.storage_descriptor.location.trim_start_matches("memory:").trim_matches('/').to_owned()
}
