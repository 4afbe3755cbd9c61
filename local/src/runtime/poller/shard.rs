//! One shard: read it from its checkpoint to its end into the lanes' queues.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use weir::clock::EpochMicros;
use weir::record::SequenceNumber;

use super::buffer::{Buffer, lane_of};
use super::envelope::EventRecord;
use super::kinesis::{From, GotRecord};
use super::lane::Lane;
use super::state::ShardCheckpoint;
use super::status::ShardState;
use super::{Shared, Stop};

/// Most bytes of one `GetRecords` answer (Kinesis quota 10 MB; the embedded endpoint has no such
/// bound, so the reader asks for as many records as will fit).
const READ_BYTES: usize = 8 << 20;
const FIRST_LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 10_000;

/// A reader of one shard.
pub(super) struct ShardReader {
    pub(super) shared: Arc<Shared>,
    pub(super) shard: Arc<str>,
    pub(super) stop: Stop,
    /// An iterator that was taken before the poller reported itself ready.
    pub(super) first_iterator: Option<String>,
}

impl ShardReader {
    /// Read and deliver; `true` when the shard is acknowledged to its end.
    pub(super) async fn run(self) -> bool {
        let checkpoint = self.shared.state.get().shards.get(&*self.shard).cloned().unwrap_or_default();
        let done = positions(&checkpoint, self.shared.mapping.parallelization_factor);
        let buffer = Arc::new(Buffer::new(&done));
        self.shared.board.update(&self.shard, |line| {
            line.state = ShardState::Reading;
            line.checkpoint = done.iter().copied().min().flatten().map(|p| p.to_string());
        });
        let lanes = (0..done.len()).map(|index| {
            let (shared, shard) = (self.shared.clone(), self.shard.clone());
            let window = checkpoint.window.clone();
            Lane { shared, shard, buffer: buffer.clone(), index, stop: self.stop.clone(), window }.run()
        });
        let lanes = join_all(lanes);
        let (_, ended) = tokio::join!(self.read(&buffer, checkpoint.from_ms), lanes);
        ended.into_iter().all(|ended| ended)
    }

    async fn read(&self, buffer: &Buffer, from_ms: Option<i64>) {
        let mut iterator = self.first_iterator.clone();
        let mut limit = FIRST_LIMIT;
        let mut failures = 0;
        loop {
            let got = tokio::select! {
                biased;
                () = self.stop.stopped() => return,
                got = self.read_once(buffer, &mut iterator, from_ms, &mut limit) => got,
            };
            let pause = match got {
                Ok(Progress::End) => return,
                Ok(progress) => {
                    failures = 0;
                    if progress == Progress::More {
                        Duration::ZERO
                    } else {
                        self.shared.mapping.poll_interval
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.show_error(error);
                    self.shared.mapping.backoff.delay(failures)
                }
            };
            if !self.stop.sleep(pause).await {
                return;
            }
        }
    }

    async fn read_once(
        &self,
        buffer: &Buffer,
        iterator: &mut Option<String>,
        from_ms: Option<i64>,
        limit: &mut usize,
    ) -> Result<Progress, String> {
        buffer.wait_for_room(self.shared.mapping.limits()).await;
        let current = match iterator.take() {
            Some(current) => current,
            None => self.open(buffer, from_ms).await?,
        };
        let began_ms = self.shared.clock.now().millis();
        // Any failure drops the iterator, so that an expired one is opened anew.
        let got = self.shared.source.get_records(&current, *limit).await.map_err(|e| e.to_string())?;
        let filled = got.records.len() >= *limit;
        if let Some(bytes) = got.records.iter().map(|r| r.data.len() + 200).max() {
            *limit = (READ_BYTES / bytes).clamp(1, MAX_LIMIT);
        }
        for record in got.records {
            self.route(buffer, record, from_ms)?;
        }
        let end = got.next_shard_iterator.is_none();
        if !filled && got.millis_behind_latest == 0 {
            buffer.caught_up(began_ms);
        }
        buffer.pushed(end);
        self.shared.board.update(&self.shard, |line| {
            (line.records_pending, line.oldest_pending_ms) = buffer.pending();
        });
        *iterator = got.next_shard_iterator;
        Ok(match (end, filled) {
            (true, _) => Progress::End,
            (false, true) => Progress::More,
            (false, false) => Progress::CaughtUp,
        })
    }

    async fn open(&self, buffer: &Buffer, from_ms: Option<i64>) -> Result<String, String> {
        let from = match (buffer.read_to(), from_ms) {
            (Some(sequence), _) => From::After(sequence.to_string()),
            (None, Some(ms)) => From::AtTimestamp(EpochMicros::from_millis(ms)),
            (None, None) => From::TrimHorizon,
        };
        self.shared.source.iterator(&self.shard, &from).await.map_err(|e| e.to_string())
    }

    fn route(&self, buffer: &Buffer, record: GotRecord, from_ms: Option<i64>) -> Result<(), String> {
        let sequence = SequenceNumber::parse(record.sequence_number.as_bytes())
            .map_err(|e| format!("{}: {e}", record.sequence_number))?;
        let arrived_at = EpochMicros((record.approximate_arrival_timestamp * 1e6).round() as i64);
        let lane = lane_of(&record.partition_key, self.shared.mapping.parallelization_factor);
        let json = self.shared.source.record_json(&self.shared.names, &self.shard, &record, arrived_at);
        // The embedded endpoint falls back to the trim horizon when no record is that new.
        let wanted = from_ms.is_none_or(|from| arrived_at.millis() >= from);
        let sequence_text = record.sequence_number.into_boxed_str();
        buffer.push(lane, EventRecord { sequence, sequence_text, previous: None, arrived_at, json }, wanted);
        Ok(())
    }

    fn show_error(&self, error: String) {
        (self.shared.report)(&format!("{}: {error}", self.shard));
        self.shared.board.update(&self.shard, |line| line.last_error = Some(error));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    More,
    CaughtUp,
    End,
}

/// Positions per lane. When the number of lanes has changed, the earliest holds for all.
fn positions(checkpoint: &ShardCheckpoint, lanes: usize) -> Vec<Option<SequenceNumber>> {
    let parse = |text: &Option<String>| text.as_ref().and_then(|t| t.parse().ok());
    let known: Vec<Option<SequenceNumber>> = checkpoint.lanes.iter().map(parse).collect();
    if known.len() == lanes {
        return known;
    }
    vec![known.into_iter().min().flatten(); lanes]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_a_change_of_lanes_at_the_earliest() {
        let numbers = |texts: &[&str]| -> Vec<Option<SequenceNumber>> {
            texts.iter().map(|t| t.parse().ok()).collect()
        };
        let cases: [(&[&str], usize, &[&str]); 5] = [
            (&["5", "9"], 2, &["5", "9"]),
            (&["5", "9"], 1, &["5"]),
            (&["5", "9"], 3, &["5", "5", "5"]),
            (&["", "9"], 1, &[""]),
            (&[], 2, &["", ""]),
        ];
        for (saved, lanes, expected) in cases {
            let lanes_saved = numbers(saved).into_iter().map(|n| n.map(|n| n.to_string())).collect();
            let checkpoint = ShardCheckpoint { lanes: lanes_saved, ..Default::default() };
            assert_eq!(positions(&checkpoint, lanes), numbers(expected), "{saved:?}");
        }
    }
}
