//! One lane of one shard: batches out of the buffer, to the function, until each record is done
//! or given up, always in order.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::buffer::Buffer;
use super::decide::{Condition, InvokeOutcome, Next, decide, expired_records};
use super::envelope::{EventRecord, GivenUp, LastInvocation, event_json};
use super::state::GivenUpBatch;
use super::status::ShardStatus;
use super::window::{Ends, MAX_STATE_BYTES, OpenWindow, state_of};
use super::{Shared, Stop};

/// A part of a batch that is delivered as one event.
#[derive(Debug, Clone, Copy)]
struct Work {
    start: usize,
    end: usize,
    retries: u32,
    invocations: u32,
    last: LastInvocation,
}

impl Work {
    fn fresh(start: usize, end: usize) -> Self {
        Self { start, end, retries: 0, invocations: 0, last: LastInvocation::None }
    }
}

/// A shard's lane.
pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) shard: Arc<str>,
    pub(super) buffer: Arc<Buffer>,
    pub(super) index: usize,
    pub(super) stop: Stop,
    /// The tumbling window that is open.
    pub(super) window: Option<OpenWindow>,
}

impl Lane {
    /// Deliver until the shard ends (`true`) or the poller is stopped (`false`).
    pub(super) async fn run(mut self) -> bool {
        let limits = self.shared.mapping.limits();
        loop {
            let batch = tokio::select! {
                biased;
                () = self.stop.stopped() => return false,
                batch = self.buffer.next_batch(self.index, limits) => batch,
                () = self.window_is_over() => Some(Vec::new()),
            };
            let ended = batch.is_none();
            let batch = batch.unwrap_or_default();
            self.show_pending();
            let delivered = match self.shared.mapping.policy.tumbling_window {
                Some(length) => self.deliver_windows(&batch, length).await,
                None => self.deliver(&batch, 0, batch.len()).await,
            };
            if ended || !delivered {
                return delivered;
            }
        }
    }

    /// Resolves when every record of the open window is delivered.
    async fn window_is_over(&self) {
        match (&self.window, self.shared.mapping.policy.tumbling_window) {
            (Some(window), Some(length)) => {
                self.buffer.wait_for_all_before(self.index, window.end_ms(length)).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Deliver a batch window by window; an empty one only ends the window that is open.
    async fn deliver_windows(&mut self, batch: &[EventRecord], length: Duration) -> bool {
        let mut start = 0;
        loop {
            let taken = self.window.as_ref().map_or(0, |window| window.takes(&batch[start..], length));
            if taken > 0 && !self.deliver(batch, start, start + taken).await {
                return false;
            }
            start += taken;
            let too_large = self.window.as_ref().is_some_and(|w| w.state.len() > MAX_STATE_BYTES);
            let ends = if too_large { Ends::Early } else { Ends::InTime };
            if (too_large || start < batch.len() || batch.is_empty())
                && !self.end_window(batch, start, ends).await
            {
                return false;
            }
            let Some(first) = batch.get(start) else { return true };
            self.window = Some(OpenWindow::of(first.arrived_at.millis(), length));
        }
    }

    /// Send the event that ends the open window, until the function takes it or the retries are
    /// used up; `false` if the poller is stopped before. The batch goes on at `start`.
    async fn end_window(&mut self, batch: &[EventRecord], start: usize, ends: Ends) -> bool {
        let (policy, mut work) = (self.shared.mapping.policy, Work::fresh(0, 0));
        while self.window.is_some() {
            let (invoked, outcome) = self.invoke(&[], work, ends).await;
            work = invoked;
            match decide(&outcome, &[], work.retries, &policy) {
                Next::Done => self.window = None,
                Next::RetryUncounted => {}
                Next::GiveUp(condition) => {
                    self.show_error(format!("gave up the end of a window: {}", condition.name()));
                    self.window = None;
                }
                Next::Retry | Next::ContinueFrom(_) | Next::Split(_) => work.retries += 1,
            }
            if self.window.is_some() && !self.pause(work.retries.max(1)).await {
                return false;
            }
        }
        self.checkpoint(batch, start, start, |_| {}).await;
        true
    }

    /// Deliver a part of a batch to its end; `false` if the poller is stopped on the way.
    async fn deliver(&mut self, batch: &[EventRecord], start: usize, end: usize) -> bool {
        let mut stack = if start < end { vec![Work::fresh(start, end)] } else { Vec::new() };
        let mut failures_in_a_row = 0;
        while let Some(work) = stack.pop() {
            if self.stop.is_stopped() {
                return false;
            }
            if let Some((count, condition)) = self.undeliverable(&batch[work.start..work.end]) {
                if !self.give_up(batch, Work { end: work.start + count, ..work }, condition).await {
                    return false;
                }
                if work.start + count < work.end {
                    stack.push(Work { start: work.start + count, ..work });
                }
                continue;
            }
            let (work, outcome) = self.invoke(batch, work, Ends::NotYet).await;
            let records = &batch[work.start..work.end];
            let numbers: Vec<&str> = records.iter().map(|r| r.sequence_text.as_ref()).collect();
            let next = decide(&outcome, &numbers, work.retries, &self.shared.mapping.policy);
            if matches!(next, Next::Done | Next::ContinueFrom(_)) {
                self.take_state(&outcome);
            }
            match next {
                Next::Done => self.done(batch, work.start, work.end).await,
                Next::ContinueFrom(index) => {
                    self.done(batch, work.start, work.start + index).await;
                    stack.push(Work::fresh(work.start + index, work.end));
                }
                Next::Split(index) => {
                    stack.push(Work::fresh(work.start + index, work.end));
                    stack.push(Work::fresh(work.start, work.start + index));
                }
                Next::Retry => stack.push(Work { retries: work.retries + 1, ..work }),
                Next::RetryUncounted => stack.push(work),
                Next::GiveUp(condition) => {
                    if !self.give_up(batch, work, condition).await {
                        return false;
                    }
                }
            }
            if matches!(next, Next::Done | Next::ContinueFrom(_)) {
                failures_in_a_row = 0;
                continue;
            }
            failures_in_a_row += 1;
            self.show_retries(&stack);
            if !stack.is_empty() && !self.pause(failures_in_a_row).await {
                return false;
            }
        }
        true
    }

    /// The records at the head that must not be delivered, and why.
    fn undeliverable(&self, records: &[EventRecord]) -> Option<(usize, Condition)> {
        let now = self.shared.clock.now().millis();
        let arrivals = records.iter().map(|r| r.arrived_at.millis());
        let expired = expired_records(arrivals, now, &self.shared.mapping.policy);
        if expired > 0 {
            return Some((expired, Condition::RecordAgeExceeded));
        }
        let room = self.shared.mapping.limits().record_bytes;
        let too_large = records.first().is_some_and(|r| r.json.len() > room);
        too_large.then_some((1, Condition::PayloadSizeExceeded))
    }

    /// What the function keeps in the window, for its next event and for the checkpoint.
    fn take_state(&mut self, outcome: &InvokeOutcome) {
        if let (Some(window), InvokeOutcome::Answer(answer)) = (&mut self.window, outcome)
            && let Some(state) = state_of(answer)
        {
            window.state = state;
        }
    }

    fn window_fields(&self, ends: Ends) -> String {
        let length = self.shared.mapping.policy.tumbling_window;
        let fields =
            self.window.as_ref().zip(length).map(|(w, l)| w.fields(l, &self.shared.names, &self.shard, ends));
        fields.unwrap_or_default()
    }

    async fn invoke(&self, batch: &[EventRecord], mut work: Work, ends: Ends) -> (Work, InvokeOutcome) {
        let event = event_json(&batch[work.start..work.end], &self.window_fields(ends));
        let outcome = self.shared.function.invoke(event).await;
        if outcome != InvokeOutcome::Throttled {
            work.invocations += 1;
        }
        match &outcome {
            InvokeOutcome::FunctionError(error) => {
                work.last = LastInvocation::Unhandled;
                self.shared.board.update(&self.shard, |line| line.function_errors += 1);
                self.show_error(format!("function failed: {error}"));
            }
            InvokeOutcome::Answer(_) => work.last = LastInvocation::Answered,
            InvokeOutcome::Throttled => {}
        }
        (work, outcome)
    }

    /// The records of `batch` from `start` to `end` are done: remember it durably.
    async fn done(&self, batch: &[EventRecord], start: usize, end: usize) {
        let tally = |line: &mut ShardStatus| {
            line.records_delivered += (end - start) as u64;
            line.batches_delivered += 1;
        };
        self.checkpoint(batch, start, end, tally).await;
    }

    async fn checkpoint(
        &self,
        batch: &[EventRecord],
        start: usize,
        end: usize,
        tally: impl FnOnce(&mut ShardStatus),
    ) {
        self.buffer.advance(self.index, batch.get(end));
        // Positions are taken under the lock of what they go to, so that lanes which finish at the
        // same time cannot set each other back.
        self.shared.state.update(|checkpoints| {
            let lanes = self.buffer.positions().into_iter().map(|p| p.map(|p| p.to_string())).collect();
            let checkpoint = checkpoints.shards.entry(self.shard.to_string()).or_default();
            checkpoint.lanes = lanes;
            checkpoint.window.clone_from(&self.window);
        });
        if let Err(error) = self.shared.state.save().await {
            // Only redelivery follows from an old checkpoint, so the work goes on.
            self.show_error(format!("could not write the checkpoint: {error}"));
        }
        self.shared.board.update(&self.shard, |line| {
            self.buffer.release(self.index, end - start);
            tally(line);
            line.checkpoint = self.buffer.positions().into_iter().min().flatten().map(|p| p.to_string());
            line.retries_in_progress = 0;
            (line.records_pending, line.oldest_pending_ms) = self.buffer.pending();
        });
    }

    /// Hand a part of the batch to the destination; `false` if the poller is stopped before the
    /// destination took it.
    async fn give_up(&self, batch: &[EventRecord], work: Work, condition: Condition) -> bool {
        let records = &batch[work.start..work.end];
        let request_id = self.request_id(records, work.invocations);
        let window_fields = self.window_fields(Ends::NotYet);
        let given_up = GivenUp {
            window_fields: &window_fields,
            names: &self.shared.names,
            shard: &self.shard,
            records,
            condition,
            last: work.last,
            invocations: work.invocations,
            request_id: &request_id,
            now: self.shared.clock.now(),
        };
        let mut attempts = 0;
        let object = loop {
            match self.shared.destination.keep(&self.shared.mapping.name, &given_up).await {
                Ok(object) => break object,
                Err(error) => {
                    attempts += 1;
                    self.show_error(format!("the on-failure destination did not take a batch: {error}"));
                    if !self.stop.sleep(self.shared.mapping.backoff.delay(attempts)).await {
                        return false;
                    }
                }
            }
        };
        self.remember(&given_up, object);
        self.show_error(format!("gave up {} record(s): {}", records.len(), condition.name()));
        let tally = |line: &mut ShardStatus| {
            line.batches_given_up += 1;
            line.records_given_up += records.len() as u64;
        };
        self.checkpoint(batch, work.start, work.end, tally).await;
        true
    }

    fn remember(&self, given_up: &GivenUp<'_>, object: Option<String>) {
        let at =
            |record: Option<&EventRecord>| record.map_or_else(String::new, |r| r.sequence_text.to_string());
        let batch = GivenUpBatch {
            at_ms: given_up.now.millis(),
            shard: given_up.shard.to_owned(),
            condition: given_up.condition.name().to_owned(),
            records: given_up.records.len() as u64,
            from: at(given_up.records.first()),
            to: at(given_up.records.last()),
            invocations: given_up.invocations,
            object,
        };
        let given_up = self.shared.state.update(|checkpoints| {
            checkpoints.remember(batch);
            checkpoints.given_up.clone()
        });
        self.shared.board.show_given_up(given_up);
    }

    /// An id for an invocation, from what was invoked, in the form of a UUID.
    fn request_id(&self, records: &[EventRecord], invocations: u32) -> String {
        let first = records.first().map_or("", |r| r.sequence_text.as_ref());
        let hash = Sha256::digest(format!("{}/{first}/{}/{invocations}", self.shard, records.len()));
        uuid_form(&hash)
    }

    async fn pause(&self, failures: u32) -> bool {
        let delay: Duration = self.shared.mapping.backoff.delay(failures);
        self.stop.sleep(delay).await
    }

    fn show_pending(&self) {
        self.shared.board.update(&self.shard, |line| {
            (line.records_pending, line.oldest_pending_ms) = self.buffer.pending();
        });
    }

    fn show_retries(&self, stack: &[Work]) {
        let retries = stack.iter().map(|w| w.retries).max().unwrap_or(0);
        self.shared.board.update(&self.shard, |line| line.retries_in_progress = retries);
    }

    fn show_error(&self, error: String) {
        (self.shared.report)(&format!("{}: {error}", self.shard));
        self.shared.board.update(&self.shard, |line| line.last_error = Some(error));
    }
}

/// The first 16 bytes of a hash, written as a UUID.
pub(crate) fn uuid_form(hash: &[u8]) -> String {
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
