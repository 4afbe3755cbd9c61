//! What is read of a shard and not yet acknowledged: one queue a lane, and from them the positions
//! that are safe to remember. A lane takes the records whose partition key hashes to it, so that
//! records of one key stay in order whatever the parallelization factor.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use weir::record::SequenceNumber;

use super::envelope::{EventRecord, fitting};

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) batch_size: usize,
    pub(super) window: Duration,
    /// Bytes of records of one event.
    pub(super) record_bytes: usize,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<(EventRecord, Instant)>,
    queued_bytes: usize,
    /// Records handed to the lane and not acknowledged.
    in_flight: usize,
    /// The record before the first pending one, and that one's arrival.
    first_pending: Option<(Option<SequenceNumber>, i64)>,
    /// What an earlier run acknowledged.
    done_before: Option<SequenceNumber>,
}

struct Inner {
    lanes: Vec<Lane>,
    read_to: Option<SequenceNumber>,
    /// When a read that began then found no more records.
    caught_up_ms: i64,
    ended: bool,
}

/// A shard's queues.
pub(super) struct Buffer {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

/// What a lane does next.
enum Ready {
    Batch(Vec<EventRecord>),
    At(Option<Instant>),
    End,
}

/// Which lane takes a partition key: FNV-1a, stable from run to run.
pub(super) fn lane_of(partition_key: &str, lanes: usize) -> usize {
    let hash = partition_key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % lanes.max(1) as u64) as usize
}

impl Buffer {
    /// Queues for lanes that have acknowledged up to `done`.
    pub(super) fn new(done: &[Option<SequenceNumber>]) -> Self {
        let lanes = done.iter().map(|done| Lane { done_before: *done, ..Lane::default() }).collect();
        let read_to = done.iter().copied().min().flatten();
        let inner = Inner { lanes, read_to, caught_up_ms: i64::MIN, ended: false };
        Self { inner: Mutex::new(inner), changed: watch::channel(()).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where reading goes on.
    pub(super) fn read_to(&self) -> Option<SequenceNumber> {
        self.lock().read_to
    }

    /// Take a record that was read. What an earlier run acknowledged is passed over.
    pub(super) fn push(&self, lane: usize, mut record: EventRecord, wanted: bool) {
        let mut inner = self.lock();
        record.previous = inner.read_to.replace(record.sequence);
        let lane = &mut inner.lanes[lane];
        if !wanted || lane.done_before >= Some(record.sequence) {
            return;
        }
        if lane.first_pending.is_none() {
            lane.first_pending = Some((record.previous, record.arrived_at.millis()));
        }
        lane.queued_bytes += record.json.len();
        lane.queue.push_back((record, Instant::now()));
    }

    /// Wake whoever waits, after a round of pushes or at the shard's end.
    pub(super) fn pushed(&self, end: bool) {
        self.lock().ended |= end;
        self.changed.send_replace(());
    }

    /// A read that began at `began_ms` found no more records.
    pub(super) fn caught_up(&self, began_ms: i64) {
        self.lock().caught_up_ms = began_ms;
    }

    /// Wait until every record that arrived before `end_ms` is out of the lane's queue.
    pub(super) async fn wait_for_all_before(&self, lane: usize, end_ms: i64) {
        let mut changed = self.changed.subscribe();
        loop {
            let (idle, caught_up_ms) = {
                let inner = self.lock();
                (inner.lanes[lane].queue.is_empty(), inner.caught_up_ms)
            };
            if idle && caught_up_ms >= end_ms {
                return;
            }
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Wait until no lane holds more than two batches.
    pub(super) async fn wait_for_room(&self, limits: BatchLimits) {
        let mut changed = self.changed.subscribe();
        loop {
            let full = |lane: &Lane| {
                lane.queue.len() >= 2 * limits.batch_size || lane.queued_bytes >= 2 * limits.record_bytes
            };
            if !self.lock().lanes.iter().any(full) || changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// The next batch of a lane; `None` at the end of the shard.
    pub(super) async fn next_batch(&self, lane: usize, limits: BatchLimits) -> Option<Vec<EventRecord>> {
        let mut changed = self.changed.subscribe();
        loop {
            let wait_until = match self.ready(lane, limits) {
                Ready::Batch(records) => {
                    self.changed.send_replace(());
                    return Some(records);
                }
                Ready::End => return None,
                Ready::At(instant) => instant,
            };
            let window = async {
                match wait_until {
                    Some(instant) => tokio::time::sleep_until(instant).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { _ = changed.changed() => {}, () = window => {} }
        }
    }

    fn ready(&self, lane: usize, limits: BatchLimits) -> Ready {
        let mut inner = self.lock();
        let ended = inner.ended;
        let lane = &mut inner.lanes[lane];
        let Some((_, first_read)) = lane.queue.front() else {
            return if ended { Ready::End } else { Ready::At(None) };
        };
        let window_closes = *first_read + limits.window;
        let full = lane.queue.len() >= limits.batch_size || lane.queued_bytes >= limits.record_bytes;
        if !(full || ended || window_closes <= Instant::now()) {
            return Ready::At(Some(window_closes));
        }
        let count =
            fitting(lane.queue.iter().map(|(r, _)| r.json.len()), limits.batch_size, limits.record_bytes);
        let records: Vec<_> = lane.queue.drain(..count).map(|(record, _)| record).collect();
        lane.queued_bytes -= records.iter().map(|r| r.json.len()).sum::<usize>();
        lane.in_flight = records.len();
        Ready::Batch(records)
    }

    /// The lane's batch is done up to before `next`, its first record that is not.
    pub(super) fn advance(&self, lane: usize, next: Option<&EventRecord>) {
        let mut inner = self.lock();
        let lane = &mut inner.lanes[lane];
        let next = next.or_else(|| lane.queue.front().map(|(record, _)| record));
        lane.first_pending = next.map(|r| (r.previous, r.arrived_at.millis()));
    }

    /// `count` more records of the lane's batch are done, and that is written down.
    pub(super) fn release(&self, lane: usize, count: usize) {
        let mut inner = self.lock();
        let lane = &mut inner.lanes[lane];
        lane.in_flight = lane.in_flight.saturating_sub(count);
    }

    /// Per lane, up to where all of its records are done.
    pub(super) fn positions(&self) -> Vec<Option<SequenceNumber>> {
        let inner = self.lock();
        let position = |lane: &Lane| {
            let reached = lane.first_pending.map_or(inner.read_to, |(previous, _)| previous);
            reached.max(lane.done_before)
        };
        inner.lanes.iter().map(position).collect()
    }

    /// How many records are not acknowledged, and when the oldest of them arrived.
    pub(super) fn pending(&self) -> (u64, Option<i64>) {
        let inner = self.lock();
        let count = inner.lanes.iter().map(|lane| lane.queue.len() + lane.in_flight).sum::<usize>();
        let oldest = inner.lanes.iter().filter_map(|lane| lane.first_pending).map(|(_, at)| at).min();
        (count as u64, oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use weir::clock::EpochMicros;

    fn record(sequence: u64) -> EventRecord {
        EventRecord {
            sequence: SequenceNumber::from(sequence),
            sequence_text: sequence.to_string().into(),
            previous: None,
            arrived_at: EpochMicros::from_millis(sequence as i64),
            json: Bytes::from_static(b"{}"),
        }
    }

    fn number(sequence: u64) -> Option<SequenceNumber> {
        Some(SequenceNumber::from(sequence))
    }

    const NOW: BatchLimits = BatchLimits { batch_size: 2, window: Duration::ZERO, record_bytes: 1_000 };

    #[tokio::test]
    async fn a_lane_that_waits_holds_back_only_itself() {
        let buffer = Buffer::new(&[None, None]);
        for (lane, sequence) in [(0, 1), (1, 2), (0, 3), (0, 4), (1, 5)] {
            buffer.push(lane, record(sequence), true);
        }
        assert_eq!(buffer.positions(), [None, number(1)]);
        assert_eq!(buffer.pending(), (5, Some(1)));
        let batch = buffer.next_batch(0, NOW).await.unwrap();
        assert_eq!(batch.len(), 2);
        buffer.advance(0, batch.get(1));
        assert_eq!(buffer.positions(), [number(2), number(1)]);
        buffer.advance(0, None);
        buffer.release(0, 2);
        assert_eq!(buffer.positions(), [number(3), number(1)]);
        let batch = buffer.next_batch(0, NOW).await.unwrap();
        assert_eq!(batch[0].sequence_text.as_ref(), "4");
        buffer.advance(0, None);
        buffer.release(0, 1);
        // Nothing of lane 0 is pending: it is done up to what was read.
        assert_eq!(buffer.positions(), [number(5), number(1)]);
        assert_eq!(buffer.pending(), (2, Some(2)));
    }

    #[tokio::test]
    async fn what_an_earlier_run_acknowledged_is_passed_over() {
        let buffer = Buffer::new(&[number(4), number(1)]);
        assert_eq!(buffer.read_to(), number(1));
        for (lane, sequence) in [(1, 2), (0, 3), (0, 4), (0, 6)] {
            buffer.push(lane, record(sequence), true);
        }
        assert_eq!(buffer.positions(), [number(4), number(1)]);
        buffer.pushed(true);
        let sequences: Vec<_> =
            buffer.next_batch(0, NOW).await.unwrap().iter().map(|r| r.sequence_text.to_string()).collect();
        assert_eq!(sequences, ["6"]);
        assert!(buffer.next_batch(0, NOW).await.is_none());
    }

    #[tokio::test]
    async fn a_batch_waits_for_its_window_or_its_size() {
        let limits = BatchLimits { batch_size: 3, window: Duration::from_millis(300), ..NOW };
        let buffer = Buffer::new(&[None]);
        let begun = Instant::now();
        buffer.push(0, record(1), true);
        buffer.push(0, record(2), true);
        assert_eq!(buffer.next_batch(0, limits).await.unwrap().len(), 2);
        assert!(begun.elapsed() >= Duration::from_millis(300));
        let begun = Instant::now();
        for sequence in 3..7 {
            buffer.push(0, record(sequence), true);
        }
        assert_eq!(buffer.next_batch(0, limits).await.unwrap().len(), 3);
        assert!(begun.elapsed() < Duration::from_millis(300));
    }
}
