//! Follows the commits while a run goes on: for each event when its commit is seen, and when a reader
//! has read its row from a partition that the catalog shows.
//!
//! A commit is seen at most one poll (`POLL`) after it is there; nothing is taken off for that.

pub mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir::catalog::Catalog;
use weir::commit::LakeStore;
use weir::commit::format::{Commit, CommitHeader, CommittedFile};
use weir::commit::reader;
use weir::naming::{ChainKey, LogEntry};

use crate::generate::Plan;
use crate::run::outcome::{Latencies, Skew};
use crate::run::schedule::Schedule;
use crate::run::shared::{Shared, lock};
use rows::{Row, Wanted};

/// Pause between looks at the commits.
const POLL: Duration = Duration::from_millis(20);
/// Pause before a store that had a bad moment is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause between looks for new shards.
const NEW_SHARDS: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) committed: Latencies,
    pub(crate) queryable: Latencies,
    pub(crate) skew: Option<Skew>,
    /// Acknowledged events that no commit listed when following ended.
    pub(crate) behind: u64,
}

/// Follows one lake.
pub(crate) struct Watcher {
    lake: LakeStore,
    catalog: Arc<dyn Catalog>,
    plan: Arc<Plan>,
    schedule: Arc<Schedule>,
    shared: Arc<Shared>,
    /// Next version of each chain.
    chains: BTreeMap<ChainKey, u64>,
    looked_for_shards: Option<Instant>,
    registered: BTreeSet<String>,
    /// Intended send times of rows that were read in partitions that are not registered yet.
    waiting: Vec<(CommittedFile, Vec<i64>)>,
    seen: Seen,
    /// How long a store that has a bad moment is asked again.
    patience: Duration,
    least_us: i64,
    most_us: i64,
    samples: u64,
    /// Whether arrival times show more than seconds: some endpoints cut them.
    shows_millis: bool,
}

impl Watcher {
    /// Begins behind what the lake holds now.
    pub(crate) async fn open(
        lake: LakeStore,
        catalog: Arc<dyn Catalog>,
        plan: Arc<Plan>,
        schedule: Arc<Schedule>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let mut chains = BTreeMap::new();
        for chain in reader::chains(&lake).await? {
            let head = head(&lake, &chain).await?;
            chains.insert(chain, head + 1);
        }
        Ok(Self {
            lake,
            catalog,
            plan,
            schedule,
            shared,
            chains,
            looked_for_shards: None,
            registered: BTreeSet::new(),
            waiting: Vec::new(),
            seen: Seen::default(),
            patience: Duration::ZERO,
            least_us: i64::MIN,
            most_us: i64::MAX,
            samples: 0,
            shows_millis: false,
        })
    }

    /// Follow until everything that was acknowledged is committed and `done` says that nothing more
    /// comes, or nothing has moved for `patience` after that.
    pub(crate) async fn follow(
        mut self,
        done: tokio::sync::watch::Receiver<bool>,
        patience: Duration,
    ) -> Result<Seen> {
        self.patience = patience;
        let mut moved = Instant::now();
        let mut committed = 0;
        loop {
            let new = self.look().await?;
            committed += new;
            let over = *done.borrow();
            if new > 0 || !over {
                moved = Instant::now();
            }
            let acknowledged = self.shared.read(|c| &c.acknowledged);
            let lag = acknowledged.saturating_sub(committed);
            self.shared.second(|s| s.lag = lag);
            self.seen.behind = lag;
            // What was stored without an answer is committed too: then the counts don't say that
            // everything acknowledged is among it.
            let is_all = lag == 0 && self.shared.read(|c| &c.failed_requests) == 0;
            if over && (is_all && self.waiting.is_empty() || moved.elapsed() > patience) {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        if self.samples > 0 {
            let cut_us = if self.shows_millis { 1_000 } else { 1_000_000 };
            self.seen.skew = Some(Skew {
                samples: self.samples,
                least_ms: self.least_us as f64 / 1e3,
                most_ms: (self.most_us + cut_us) as f64 / 1e3,
            });
        }
        Ok(self.seen)
    }

    /// Read what is new; the events of the run in it.
    async fn look(&mut self) -> Result<u64> {
        if self.looked_for_shards.is_none_or(|at| at.elapsed() > NEW_SHARDS) {
            for chain in patiently(self.patience, || reader::chains(&self.lake)).await? {
                self.chains.entry(chain).or_insert(1);
            }
            self.looked_for_shards = Some(Instant::now());
        }
        let mut new = 0;
        for chain in self.chains.keys().cloned().collect::<Vec<_>>() {
            while let Some(header) = self.next_commit(&chain).await? {
                let seen_us = self.shared.elapsed_us();
                new += self.read_commit(header, seen_us).await?;
            }
        }
        self.show_registered().await?;
        Ok(new)
    }

    async fn next_commit(&mut self, chain: &ChainKey) -> Result<Option<CommitHeader>> {
        let Some(version) = self.chains.get_mut(chain) else { return Ok(None) };
        let key = chain.object(LogEntry::Commit(*version));
        let Some(bytes) = patiently(self.patience, || self.lake.get(&key)).await? else { return Ok(None) };
        *version += 1;
        Ok(Some(Commit::decode(&key, &bytes)?.header))
    }

    async fn read_commit(&mut self, header: CommitHeader, seen_us: i64) -> Result<u64> {
        let now = self.shared.started.0 + seen_us;
        let age_ms = ((now - header.arrived_through.0) / 1_000).max(0) as u64;
        let mut events = 0;
        for file in header.files {
            let of_table = file.table == self.plan.table.name;
            if !of_table && !file.quarantine {
                continue;
            }
            let key = file.key();
            let Some(bytes) = patiently(self.patience, || self.lake.get(&key)).await? else { continue };
            let numbers = self
                .numbers(bytes, file.quarantine)
                .await
                .with_context(|| format!("could not read {}", file.key()))?;
            events += numbers.len() as u64;
            if file.quarantine {
                continue;
            }
            let intended: Vec<i64> =
                numbers.iter().map(|row| self.schedule.intended_us(row.number)).collect();
            intended.iter().for_each(|at| self.seen.committed.record(seen_us - at));
            self.compare_clocks(&numbers);
            self.waiting.push((file, intended));
        }
        if events > 0 {
            self.shared.second(|s| {
                s.committed += events;
                s.iterator_age_ms = s.iterator_age_ms.max(age_ms);
            });
        }
        Ok(events)
    }

    /// Rows of the run in a file, read beside the tasks that send.
    async fn numbers(&self, bytes: bytes::Bytes, letters: bool) -> Result<Vec<Row>> {
        let plan = Arc::clone(&self.plan);
        let read = move || {
            let mut found = Vec::new();
            if letters {
                let visit = |number| found.push(Row { number, times: [None; 2] });
                rows::read_letters(bytes, plan.tag, &plan.carrier, visit)?;
            } else {
                let wanted =
                    Wanted { tag: plan.tag, carrier: &plan.carrier, times: [Some("_arrived_at"), None] };
                rows::read(bytes, &wanted, |row| found.push(row))?;
            }
            Ok(found)
        };
        tokio::task::spawn_blocking(read).await?
    }

    /// An event cannot arrive before it was sent, nor after it was acknowledged: what the clocks say
    /// otherwise is skew. Arrival times are cut to milliseconds, or to seconds.
    fn compare_clocks(&mut self, rows: &[Row]) {
        let samples = lock(&self.shared.samples);
        for row in rows {
            let (Some(arrived), Some(sample)) = (row.times[0], samples.get(&row.number)) else { continue };
            let arrived = arrived - self.shared.started.0;
            self.samples += 1;
            self.shows_millis |= (arrived + self.shared.started.0) % 1_000_000 != 0;
            self.most_us = self.most_us.min(arrived - sample.sent_us);
            self.least_us = self.least_us.max(arrived - sample.acked_us);
        }
    }

    /// Rows count as queryable once their partition is in the catalog.
    async fn show_registered(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let unknown = self.waiting.iter().any(|(file, _)| !self.registered.contains(file.partition.as_str()));
        if unknown && !self.plan.table.partition_keys.is_empty() {
            let table = &self.plan.table.name;
            for partition in patiently(self.patience, || self.catalog.partitions(table)).await? {
                let keys = self.plan.table.partition_keys.iter().map(|k| k.name.as_str());
                let values = keys.zip(partition.values.iter().map(|v| Some(v.as_str())));
                self.registered
                    .insert(weir::partition::PartitionPath::from_values(values).as_str().to_owned());
            }
        }
        let now_us = self.shared.elapsed_us();
        let (registered, seen) = (&self.registered, &mut self.seen);
        self.waiting.retain(|(file, intended)| {
            let shown = file.partition.is_empty() || registered.contains(file.partition.as_str());
            if shown {
                intended.iter().for_each(|at| seen.queryable.record(now_us - at));
            }
            !shown
        });
        Ok(())
    }
}

/// Ask again until a bad moment is over: what is measured must not end with it.
async fn patiently<T, F>(patience: Duration, ask: impl Fn() -> F) -> weir::Result<T>
where
    F: Future<Output = weir::Result<T>>,
{
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.retryable() && begun.elapsed() < patience => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Newest version of a chain.
async fn head(lake: &LakeStore, chain: &ChainKey) -> Result<u64> {
    let newest = lake.list(&chain.prefix()).await?;
    let versions = newest.iter().filter_map(|key| match LogEntry::parse(key) {
        Some(LogEntry::Commit(version)) => Some(version),
        _ => None,
    });
    Ok(versions.max().unwrap_or(0))
}
