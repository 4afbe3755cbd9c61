//! One event → one commit, or the first record that is not committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::clock::{Clock, EpochMicros};
use crate::commit::{Folding, LakeStore, Outcome, PositionSet, Requests, ShardWriter};
use crate::error::{Error, Result};
use crate::event::ParsedEvent;
use crate::naming::{QUARANTINE_TABLE, stream_key};
use crate::record::{SequenceNumber, Shard};
use crate::schema::TableSchema;

use super::build::{BuildCounts, Delivery, Tables};

/// Shards whose state a process keeps; a function is rarely handed more than a few.
const MAX_WARM_SHARDS: usize = 64;

/// Whether records of one stream can go to these tables: each may be loaded, and each but the last says by
/// its `weir.route` which records are its own, as a table without one takes all that come to it.
///
/// # Errors
/// The first table with which that is not so, and why.
pub fn check_targets(tables: &[Arc<TableSchema>]) -> Result<()> {
    let refuse =
        |table: &TableSchema, problem: String| Err(Error::Schema { table: table.name.clone(), problem });
    for (n, table) in (1..).zip(tables) {
        table.check_loadable()?;
        if table.name == QUARANTINE_TABLE {
            let problem =
                "holds the records that other tables refuse; name the table that they are for".to_owned();
            return refuse(table, problem);
        }
        if n < tables.len() && table.route.is_none() {
            let problem = format!(
                "has no `weir.route` and would take every record of the stream, also those of {}; give it one, as \
                 `\"weir.route\": \"type=click\"`, or name it last",
                tables[n].name
            );
            return refuse(table, problem);
        }
    }
    Ok(())
}

/// What a process keeps from event to event.
pub struct Ingest {
    lake: LakeStore,
    catalog: Arc<dyn Catalog>,
    tables: Vec<Arc<TableSchema>>,
    /// Beside the ARN, what tells this incarnation of the stream from one made again.
    stream_identity: String,
    /// The same by ARN, where it is known only with the event.
    identities: HashMap<String, String>,
    consumer: Option<String>,
    announced: bool,
    clock: Arc<dyn Clock>,
    folding: Folding,
    warm: HashMap<(String, String), Warm>,
    registered: BTreeSet<(String, String)>,
}

struct Warm {
    writer: ShardWriter,
    tables: Tables,
}

/// One attempt.
pub struct Attempt<'a> {
    /// The event.
    pub event: &'a ParsedEvent,
    /// Unique to this attempt.
    pub id: &'a str,
    /// When building must stop, so that what is built can still be committed.
    pub build_until: EpochMicros,
}

/// What became of an event.
#[derive(Debug, Default)]
pub struct Processed {
    /// The first record that no commit lists.
    pub first_uncommitted: Option<SequenceNumber>,
    /// Rows, dead letters and the rest.
    pub counts: BuildCounts,
    /// Files put.
    pub files: u64,
    /// Versions made: one, or none if every record was committed before.
    pub commits: u64,
    /// Records that an earlier commit lists.
    pub redelivered: u64,
    /// Partitions of all tables that got files.
    pub partitions: u64,
    /// Requests to the store.
    pub requests: Requests,
    /// Microseconds spent building files.
    pub build_us: i64,
    /// Microseconds of the whole attempt.
    pub total_us: i64,
    /// Partitions that could not be registered; `close` repairs them.
    pub unregistered_partitions: u64,
    /// Whether this was the shard's first event in this process.
    pub cold_shard: bool,
}

impl Ingest {
    /// A process that feeds `tables`.
    pub fn new(
        lake: LakeStore,
        catalog: Arc<dyn Catalog>,
        tables: Vec<Arc<TableSchema>>,
        stream_identity: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let folding = Folding::default();
        let (warm, registered, identities) = (HashMap::new(), BTreeSet::new(), HashMap::new());
        let consumer = None;
        Self {
            lake,
            catalog,
            tables,
            stream_identity,
            identities,
            consumer,
            announced: false,
            clock,
            folding,
            warm,
            registered,
        }
    }

    /// One of several consumers of the same stream into the same lake: it has commit chains of its
    /// own under this name, and leaves alone what no `weir.route` of its tables takes. Two functions
    /// without names would share one chain, and each would take the other's records for committed.
    pub fn with_consumer(mut self, name: Option<String>) -> Self {
        self.consumer = name;
        self
    }

    /// Leave a marker of each version, so that close looks at shards that may have ended
    /// ([`ShardWriter::announced`]).
    pub fn announced(mut self) -> Self {
        self.announced = true;
        self
    }

    /// The same with other bounds of what is folded and remembered of each shard.
    pub fn with_folding(mut self, folding: Folding) -> Self {
        self.folding = folding;
        self
    }

    /// Go on with other definitions. What is remembered of shards is forgotten with the old ones.
    pub fn set_tables(&mut self, tables: Vec<Arc<TableSchema>>) {
        self.tables = tables;
        self.warm.clear();
    }

    /// Say which incarnation of a stream the next events come from. What is remembered of another
    /// one is forgotten: its commits say nothing about this one's records.
    pub fn identify(&mut self, stream_arn: &str, identity: String) {
        if self.identities.get(stream_arn) != Some(&identity) {
            self.warm.retain(|(arn, _), _| arn != stream_arn);
            self.identities.insert(stream_arn.to_owned(), identity);
        }
    }

    /// Commit what of the event no commit lists.
    ///
    /// # Errors
    /// A bad moment of the store: nothing is known to be committed, everything is delivered again.
    pub async fn process(&mut self, attempt: &Attempt<'_>) -> Result<Processed> {
        let event = attempt.event;
        let start = self.clock.now();
        let before = self.lake.requests();
        let (Some(origin), Some((_, arrived_through))) = (&event.origin, event.arrived) else {
            return Ok(Processed::default());
        };
        let key = (origin.stream_arn.clone(), origin.shard.clone());
        let cold_shard = !self.warm.contains_key(&key);
        if cold_shard {
            if self.warm.len() >= MAX_WARM_SHARDS {
                self.warm.clear();
            }
            let identity = self.identities.get(&origin.stream_arn).unwrap_or(&self.stream_identity);
            let mut identity = format!("{}{identity}", origin.stream_arn);
            if let Some(consumer) = &self.consumer {
                identity = format!("{identity}\nconsumer {consumer}");
            }
            let shard = Shard {
                stream: origin.stream_name().into(),
                stream_key: stream_key(origin.stream_name(), &identity).into(),
                shard: origin.shard.as_str().into(),
            };
            let mut tables = Tables::new(&shard, &self.tables)?;
            if self.consumer.is_some() {
                tables = tables.shared();
            }
            let mut writer = ShardWriter::with_folding(self.lake.clone(), shard, self.folding);
            if self.announced {
                writer = writer.announced();
            }
            self.warm.insert(key.clone(), Warm { writer, tables });
        }
        let Some(warm) = self.warm.get_mut(&key) else { return Ok(Processed::default()) };
        let positions = event.sequences.iter().copied().collect::<PositionSet>();
        let delivery =
            Delivery { batch: &event.batch, dead: &event.dead_letters, positions: &positions, now: start };
        let (clock, tables) = (self.clock.clone(), &mut warm.tables);
        let mut processed = Processed { cold_shard, ..Processed::default() };
        let (counts, build_us) = (&mut processed.counts, &mut processed.build_us);
        let mut build = |wanted: &PositionSet| {
            let begun = clock.now();
            let in_time = || clock.now() < attempt.build_until;
            let built = tables.build(&delivery, wanted, &in_time, counts);
            *build_us += clock.now().0 - begun.0;
            built
        };
        let outcome = warm.writer.commit(&positions, arrived_through, attempt.id, &mut build).await?;
        processed.first_uncommitted = outcome.first_pending();
        let (covered, pending) = match &outcome {
            Outcome::Committed { files, covers, pending, .. } => {
                (processed.files, processed.commits) = (files.len() as u64, 1);
                (covers.count(), pending)
            }
            Outcome::AlreadyCommitted { pending } => {
                processed.counts = BuildCounts::default();
                (0, pending)
            }
        };
        processed.redelivered = positions.count().saturating_sub(covered + pending.count());
        let touched: Vec<_> =
            outcome.partitions().into_iter().map(|(table, path)| (table.to_owned(), path.clone())).collect();
        processed.partitions = touched.len() as u64;
        processed.unregistered_partitions = self.register(touched).await;
        processed.requests = self.lake.requests().since(&before);
        processed.total_us = self.clock.now().0 - start.0;
        Ok(processed)
    }

    /// Register partitions that this process has not registered yet. Never fails a batch.
    async fn register(&mut self, touched: Vec<(String, crate::partition::PartitionPath)>) -> u64 {
        let mut new: BTreeMap<String, Vec<(String, Vec<String>)>> = BTreeMap::new();
        for (table, path) in touched {
            let seen = (table.clone(), path.as_str().to_owned());
            if path.is_empty() || self.registered.contains(&seen) {
                continue;
            }
            let null = || crate::partition::NULL_PARTITION.to_owned();
            let values = path.values().into_iter().map(|(_, value)| value.unwrap_or_else(null)).collect();
            new.entry(table).or_default().push((seen.1, values));
        }
        let mut failed = 0;
        for (table, partitions) in new {
            let values: Vec<_> = partitions.iter().map(|(_, values)| values.clone()).collect();
            match self.catalog.register_partitions(&table, &values).await {
                Ok(()) => {
                    self.registered.extend(partitions.into_iter().map(|(path, _)| (table.clone(), path)))
                }
                // Quarantine without a definition in the catalog is readable all the same.
                Err(_) if table == QUARANTINE_TABLE => {}
                Err(_) => failed += values.len() as u64,
            }
        }
        failed
    }
}
