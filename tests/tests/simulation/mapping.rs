//! An event source mapping as AWS documents it and as recordings show it: lanes of a shard, batches,
//! retries, bisecting, partial answers, age, the on-failure destination, parents before children.
//! Pure: what it does follows from its settings, the stream, and what it is told.

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;
use super::stream::{Record, Shard, Stream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    TrimHorizon,
    Latest,
    AtTimestamp(i64),
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) batch_size: usize,
    pub(crate) window_ms: i64,
    pub(crate) factor: usize,
    pub(crate) bisect: bool,
    pub(crate) retries: Option<u32>,
    pub(crate) max_age_ms: Option<i64>,
    /// `ReportBatchItemFailures`.
    pub(crate) partial: bool,
    pub(crate) destination: bool,
    pub(crate) start: Start,
}

impl Config {
    pub(crate) fn random(random: &mut Random, now_ms: i64) -> Self {
        Self {
            batch_size: random.pick(&[1, 2, 3, 4, 8, 100]),
            window_ms: random.pick(&[0, 0, 2_000, 10_000]),
            factor: random.pick(&[1, 1, 1, 2, 3, 10]),
            bisect: random.chance(60),
            retries: random.pick(&[None, None, Some(1), Some(3), Some(10)]),
            max_age_ms: random.pick(&[None, None, None, Some(60_000), Some(6 * 3_600_000)]),
            partial: true,
            destination: random.chance(80),
            start: random.pick(&[
                Start::TrimHorizon,
                Start::TrimHorizon,
                Start::TrimHorizon,
                Start::Latest,
                Start::AtTimestamp(now_ms - 20_000),
            ]),
        }
    }

    /// Delivers everything and never gives up.
    pub(crate) fn patient(random: &mut Random) -> Self {
        Self {
            batch_size: random.pick(&[1, 3, 5, 100]),
            window_ms: 0,
            factor: random.pick(&[1, 1, 2, 10]),
            bisect: random.chance(50),
            retries: None,
            max_age_ms: None,
            partial: true,
            destination: true,
            start: Start::TrimHorizon,
        }
    }
}

/// Why records went to the on-failure destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    RetriesExhausted,
    AgeExceeded,
    PayloadSize,
}

/// How an invocation ended, for the mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invoked {
    /// An answer: the item identifier it reports, if any.
    Answer(Option<String>),
    /// The function died, timed out or failed.
    FunctionError,
    /// No concurrency left.
    Throttled,
}

/// Which lane an invocation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) mapping: usize,
    pub(crate) shard: usize,
    pub(crate) lane: usize,
    pub(crate) id: u64,
}

/// A part of a batch that is delivered as one event.
#[derive(Debug, Clone)]
struct Work {
    records: Vec<usize>,
    retries: u32,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    /// The next record to look at.
    next: usize,
    stack: Vec<Work>,
    busy: Option<u64>,
}

#[derive(Debug, Clone)]
struct Reader {
    lanes: Vec<Lane>,
    /// Where reading began.
    from: usize,
}

/// What settling an invocation, or looking for work, came to.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// The mapping's position moves past these: they are acknowledged.
    pub(crate) acknowledged: Vec<usize>,
    pub(crate) given_up: Vec<(usize, Condition)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    pub(crate) incarnation: usize,
    pub(crate) config: Config,
    pub(crate) alive: bool,
    readers: BTreeMap<usize, Reader>,
    given_up: BTreeSet<(usize, usize)>,
}

impl Mapping {
    pub(crate) fn new(incarnation: usize, config: Config, stream: &Stream) -> Self {
        let mut mapping =
            Self { incarnation, config, alive: true, readers: BTreeMap::new(), given_up: BTreeSet::new() };
        for (at, shard) in stream.shards.iter().enumerate() {
            let from = match mapping.config.start {
                Start::TrimHorizon => 0,
                Start::Latest => shard.records.len(),
                Start::AtTimestamp(ms) => {
                    shard.records.iter().position(|r| r.arrived_ms >= ms).unwrap_or(shard.records.len())
                }
            };
            mapping.read_from(at, from);
        }
        mapping
    }

    fn read_from(&mut self, shard: usize, from: usize) {
        let lane = Lane { next: from, ..Lane::default() };
        self.readers.insert(shard, Reader { lanes: vec![lane; self.config.factor], from });
    }

    /// Shards that appeared since are read from their beginning.
    fn discover(&mut self, stream: &Stream) {
        for at in 0..stream.shards.len() {
            if !self.readers.contains_key(&at) {
                self.read_from(at, 0);
            }
        }
    }

    fn lane_of(&self, record: &Record) -> usize {
        // Any stable hash of the partition key.
        (usize::from(record.key).wrapping_mul(0x9e5f) >> 4) % self.config.factor
    }

    fn drained(&self, stream: &Stream, shard: usize) -> bool {
        self.readers.get(&shard).is_some_and(|reader| {
            let rest = |lane: &Lane| lane.busy.is_some() || !lane.stack.is_empty();
            let unread = |(i, lane): (usize, &Lane)| {
                stream.shards[shard].records[lane.next..].iter().any(|r| self.lane_of(r) == i)
            };
            !reader.lanes.iter().any(rest) && !reader.lanes.iter().enumerate().any(unread)
        })
    }

    /// Parents before children.
    fn may_read(&self, stream: &Stream, shard: usize) -> bool {
        stream.shards[shard].parents.iter().all(|&parent| self.drained(stream, parent))
    }

    /// Lanes that would invoke the function now.
    pub(crate) fn ready(&mut self, stream: &Stream, now_ms: i64) -> Vec<(usize, usize)> {
        self.discover(stream);
        let mut ready = Vec::new();
        for (&at, reader) in &self.readers {
            if !self.may_read(stream, at) {
                continue;
            }
            for (i, lane) in reader.lanes.iter().enumerate().filter(|(_, lane)| lane.busy.is_none()) {
                if !lane.stack.is_empty() || self.has_batch(&stream.shards[at], lane, i, now_ms) {
                    ready.push((at, i));
                }
            }
        }
        ready
    }

    fn has_batch(&self, shard: &Shard, lane: &Lane, index: usize, now_ms: i64) -> bool {
        let waiting = shard.records[lane.next..].iter().filter(|r| self.lane_of(r) == index);
        let arrivals: Vec<i64> = waiting.map(|r| r.arrived_ms).take(self.config.batch_size).collect();
        let full = arrivals.len() == self.config.batch_size || shard.closed;
        arrivals.first().is_some_and(|first| full || now_ms - first >= self.config.window_ms)
    }

    /// Take the lane's next event; nothing is left if all of it had to be given up.
    pub(crate) fn take(
        &mut self,
        stream: &Stream,
        (shard, lane): (usize, usize),
        id: u64,
        now_ms: i64,
    ) -> (Option<Vec<usize>>, Settled) {
        let records = &stream.shards[shard].records;
        let mut settled = Settled::default();
        if self.readers[&shard].lanes[lane].stack.is_empty() {
            let next = self.readers[&shard].lanes[lane].next;
            let mine = (next..records.len()).filter(|&i| self.lane_of(&records[i]) == lane);
            let batch: Vec<usize> = mine.take(self.config.batch_size).collect();
            let reader = self.readers.get_mut(&shard).unwrap();
            reader.lanes[lane].next = batch.last().map_or(records.len(), |last| last + 1);
            reader.lanes[lane].stack.push(Work { records: batch, retries: 0 });
        }
        loop {
            let max_age = self.config.max_age_ms;
            let state = &mut self.readers.get_mut(&shard).unwrap().lanes[lane];
            let Some(work) = state.stack.last_mut() else { return (None, settled) };
            let expired = |i: usize| max_age.is_some_and(|max| now_ms - records[i].arrived_ms > max);
            let condition = match work.records.first() {
                None => {
                    state.stack.pop();
                    continue;
                }
                Some(&first) if expired(first) => Condition::AgeExceeded,
                Some(&first) if records[first].oversize => Condition::PayloadSize,
                Some(_) => {
                    // What is too large ends the event before it.
                    let cut = work.records.iter().position(|&i| records[i].oversize);
                    if let Some(cut) = cut {
                        let rest = work.records.split_off(cut);
                        let (head, retries) = (std::mem::take(&mut work.records), work.retries);
                        *work = Work { records: rest, retries: 0 };
                        state.stack.push(Work { records: head, retries });
                    }
                    state.busy = Some(id);
                    return (state.stack.last().map(|work| work.records.clone()), settled);
                }
            };
            let first = work.records.remove(0);
            settled.given_up.push((first, condition));
            self.given_up.insert((shard, first));
        }
    }

    /// What the mapping makes of an invocation's end; nothing if it no longer waits for it.
    pub(crate) fn settle(&mut self, stream: &Stream, at: Delivery, end: &Invoked) -> Settled {
        let mut settled = Settled::default();
        let Config { bisect, retries, partial, .. } = self.config;
        let Some(reader) = self.readers.get_mut(&at.shard) else { return settled };
        let lane = &mut reader.lanes[at.lane];
        if !self.alive || lane.busy != Some(at.id) {
            return settled;
        }
        lane.busy = None;
        let Some(mut work) = lane.stack.pop() else { return settled };
        let records = &stream.shards[at.shard].records;
        let failed_from = match end {
            Invoked::Throttled => {
                lane.stack.push(work);
                return settled;
            }
            Invoked::Answer(Some(reported)) if partial => {
                // An identifier that is not of the batch fails all of it.
                work.records.iter().position(|&i| records[i].sequence() == *reported).unwrap_or(0)
            }
            Invoked::Answer(_) => work.records.len(),
            Invoked::FunctionError => 0,
        };
        if failed_from > 0 {
            let rest = work.records.split_off(failed_from);
            settled.acknowledged = work.records;
            if !rest.is_empty() {
                lane.stack.push(Work { records: rest, retries: 0 });
            }
        } else if bisect && work.records.len() > 1 {
            let second = work.records.split_off(work.records.len() / 2);
            lane.stack.push(Work { records: second, retries: 0 });
            lane.stack.push(Work { records: work.records, retries: 0 });
        } else if retries.is_some_and(|most| work.retries >= most) {
            settled.given_up = work.records.iter().map(|&i| (i, Condition::RetriesExhausted)).collect();
            self.given_up.extend(work.records.iter().map(|&i| (at.shard, i)));
        } else {
            lane.stack.push(Work { retries: work.retries + 1, ..work });
        }
        settled
    }

    /// The poller starts anew from what it remembers: of each shard the lowest position that some
    /// lane has not finished. What other lanes finished above it comes again, cut in other places.
    pub(crate) fn restart(&mut self, batch_size: usize) {
        self.config.batch_size = batch_size;
        for reader in self.readers.values_mut() {
            let unfinished = |lane: &Lane| {
                let waiting = lane.stack.iter().flat_map(|work| &work.records).copied().min();
                waiting.unwrap_or(lane.next)
            };
            let from = reader.lanes.iter().map(unfinished).min().unwrap_or(reader.from);
            reader.lanes.fill(Lane { next: from, ..Lane::default() });
        }
    }

    /// Nothing left to deliver, nothing under way.
    pub(crate) fn at_rest(&mut self, stream: &Stream) -> bool {
        self.discover(stream);
        !self.alive || (0..stream.shards.len()).all(|shard| self.drained(stream, shard))
    }
}
