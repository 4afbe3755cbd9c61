//! The function `ingest`: an event of a Kinesis or DynamoDB stream → rows, dead letters and one commit → an answer that says
//! where the mapping has to deliver again.
//!
//! Never acknowledges a record that no commit lists: whatever goes wrong, the answer names the first
//! such record, or is an error, and the mapping comes back with it.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;
use weir::clock::{Clock, EpochMicros};
use weir::event::ParsedEvent;
use weir::metrics::BatchMetrics;
use weir::record::SequenceNumber;
use weir::unpack::{UnpackLimits, Unpacker};
use weir::{Error, Result};

use crate::context::{self, Config, Reserve};
use crate::emf::InvocationLine;
use crate::runtime;

/// What became of the records of an event.
#[derive(Debug, Default)]
pub struct Processed {
    /// The first record, in the event's order, that no commit lists; `None` if all are committed.
    pub first_uncommitted: Option<SequenceNumber>,
    /// What it cost and came to. The counters of unpacking are filled in by the handler.
    pub metrics: BatchMetrics,
}

/// Documents → committed rows.
pub trait Process {
    /// Commit the documents and dead letters of the event. Must list every number of
    /// `event.sequences` in a commit before it counts as committed, also those without a document.
    /// When `time_left` runs short, it commits a prefix of whole stream records and says where the
    /// rest begins. A retryable error means that nothing is known to be committed.
    fn process(
        &mut self,
        event: &mut ParsedEvent,
        time_left: Duration,
    ) -> impl Future<Output = Result<Processed>>;
}

/// An answer to the event source mapping: complete, or the one record to go on from. It cannot
/// express the forms that fail a whole batch (empty, null or unknown identifiers).
#[derive(Debug)]
pub struct Answer {
    first_failure: Option<String>,
    state: Option<Box<RawValue>>,
}

impl Answer {
    /// The record the mapping has to go on from.
    pub fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Failure<'a> {
            item_identifier: &'a str,
        }
        let failures: Vec<_> =
            self.first_failure().map(|item_identifier| Failure { item_identifier }).into_iter().collect();
        let mut answer = serializer.serialize_map(None)?;
        if let Some(state) = &self.state {
            answer.serialize_entry("state", state)?;
        }
        answer.serialize_entry("batchItemFailures", &failures)?;
        answer.end()
    }
}

/// What the service says about an invocation.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// Its id.
    pub request_id: String,
    /// When the process is stopped.
    pub deadline: EpochMicros,
    /// X-Ray trace header.
    pub trace_id: Option<String>,
}

/// The answer to an invocation and the line that is printed about it.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    /// To the service.
    pub answer: Result<Answer>,
    /// To the log.
    pub line: String,
}

/// The function, between the runtime and the library. Keeps its buffers from event to event.
#[derive(Debug)]
pub struct Handler<P, C> {
    function: String,
    tables: Vec<String>,
    reserve: Reserve,
    process: P,
    clock: C,
    unpacker: Unpacker,
    event: ParsedEvent,
    cold: bool,
}

impl<P: Process, C: Clock> Handler<P, C> {
    /// Of a configured process.
    pub fn new(config: &Config, process: P, clock: C) -> Self {
        Self {
            function: config.function_name.clone(),
            tables: config.tables.clone(),
            reserve: config.deadline_reserve,
            process,
            clock,
            unpacker: Unpacker::new(UnpackLimits::default()),
            event: ParsedEvent::default(),
            cold: true,
        }
    }

    /// Ingest the event whose JSON text is `body`.
    pub async fn handle(&mut self, body: &[u8], invocation: &Invocation) -> Outcome {
        let began_at = self.clock.now();
        let cold_start = std::mem::take(&mut self.cold);
        let (result, metrics) = self.ingest(body, invocation, began_at).await;
        let sequences = &self.event.sequences;
        let line = InvocationLine {
            began_at,
            duration_us: micros_between(began_at, self.clock.now()),
            function: &self.function,
            tables: &self.tables,
            origin: self.event.origin.as_ref(),
            request_id: &invocation.request_id,
            trace_id: invocation.trace_id.as_deref(),
            cold_start,
            range: sequences.first().zip(sequences.last()).map(|(a, b)| (a.to_string(), b.to_string())),
            first_failure: result.as_ref().ok().and_then(|(first, _)| first.as_deref()),
            error: match &result {
                Ok((_, retried)) => retried.as_ref().map(chain),
                Err(error) => Some(chain(error)),
            },
            metrics: &metrics,
        }
        .to_json();
        let answer = result.map(|(first_failure, _)| Answer { first_failure, state: self.state() });
        Outcome { answer, line }
    }

    /// The first failure, with the error that is retried if there was one.
    async fn ingest(
        &mut self,
        body: &[u8],
        invocation: &Invocation,
        began_at: EpochMicros,
    ) -> (Result<(Option<String>, Option<Error>)>, BatchMetrics) {
        if let Err(error) = self.event.parse(&mut self.unpacker, body) {
            self.event.clear();
            return (Err(error), BatchMetrics::default());
        }
        let unpacked_at = self.clock.now();
        let delivered = self.event.sequences.first().copied();
        let time_left = self.time_left(invocation, unpacked_at);
        let outcome = match delivered {
            Some(_) => self.process.process(&mut self.event, time_left).await,
            None => Ok(Processed::default()),
        };
        let (first, retried, mut metrics) = match outcome {
            Ok(done) => (done.first_uncommitted.or(self.event.untaken_from), None, done.metrics),
            Err(error) if error.retryable() => (delivered, Some(error), BatchMetrics::default()),
            Err(error) => return (Err(error), self.counted(BatchMetrics::default())),
        };
        metrics.stages.unpack_us = micros_between(began_at, unpacked_at);
        (Ok((first.map(|s| self.event.identifier(s)), retried)), self.counted(metrics))
    }

    fn time_left(&self, invocation: &Invocation, now: EpochMicros) -> Duration {
        let left = Duration::from_micros(micros_between(now, invocation.deadline));
        left - self.reserve.of(left)
    }

    /// The counters of unpacking beside those of the process.
    fn counted(&self, mut metrics: BatchMetrics) -> BatchMetrics {
        let counts = &self.event.counts;
        metrics.records_count = counts.records;
        metrics.payload_bytes = counts.payload_bytes;
        metrics.inflated_bytes = counts.inflated_bytes;
        metrics.control_messages_count = counts.control_messages;
        metrics.documents_count = metrics.documents_count.max(self.event.batch.documents.len() as u64);
        metrics
    }

    /// A mapping with a tumbling window takes an answer without a state as a failure.
    fn state(&self) -> Option<Box<RawValue>> {
        let window = self.event.window.as_ref()?;
        RawValue::from_string(window.state.clone()).ok()
    }
}

fn micros_between(from: EpochMicros, to: EpochMicros) -> u64 {
    u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0)
}

/// An error with its causes.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Run the function in this process until the service stops it: read the environment, connect what
/// `connect` makes of it, poll. The binary that is deployed and the local runtime both call it.
pub fn run_ingest<P: Process + 'static>(connect: impl AsyncFnOnce(&Config) -> Result<P>) -> ExitCode {
    runtime::run(async || {
        let config = Config::from_env(context::process_env)?;
        let process = connect(&config).await?;
        Ok(Handler::new(&config, process, weir::clock::SystemClock))
    })
}

impl<P: Process, C: Clock> runtime::Serve for Handler<P, C> {
    type Answer = Answer;

    async fn serve(&mut self, body: &[u8], invocation: &Invocation) -> runtime::Served<Answer> {
        let Outcome { answer, line } = self.handle(body, invocation).await;
        runtime::Served { answer, line }
    }
}

#[cfg(test)]
mod tests;
