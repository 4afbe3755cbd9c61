//! Function instances: events in, answers out. What runs inside is the pipeline that is deployed, or
//! a driver of the protocol's steps that a broken world bends.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64_simd::STANDARD;
use weir::catalog::FolderCatalog;
use weir::clock::{Clock, EpochMicros};
use weir::commit::store::Retry;
use weir::commit::{Folding, LakeStore};
use weir::event::ParsedEvent;
use weir::pipeline::{Attempt, Ingest};
use weir::record::SequenceNumber;
use weir::unpack::{UnpackLimits, Unpacker};

use super::driver::Driver;
use super::mapping::Invoked;
use super::random::Random;
use super::store::{ProcessStore, Shared};
use super::stream::{ARN, CONSUMER, Record};
use super::tables;
use super::world::{Broken, Plan};

/// The world's time, as one machine sees it.
pub(crate) struct SkewedClock {
    pub(crate) now_us: Arc<AtomicI64>,
    pub(crate) skew_us: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> EpochMicros {
        EpochMicros(self.now_us.load(Ordering::Relaxed) + self.skew_us)
    }
}

/// Reads the tables, processes events, keeps what it knows from one to the next.
enum Engine {
    Deployed(Box<Ingest>),
    Driven(Box<Driver>),
}

pub(crate) struct Function {
    pub(crate) process: u64,
    /// The deployment: the stream it is for, and the version of the table it was started with.
    pub(crate) incarnation: usize,
    pub(crate) version: usize,
    engine: Engine,
    unpacker: Unpacker,
    event: ParsedEvent,
    clock: Arc<SkewedClock>,
}

/// What a new instance is started with.
pub(crate) struct Deployment<'a> {
    pub(crate) objects: &'a Shared,
    pub(crate) process: u64,
    pub(crate) incarnation: usize,
    pub(crate) identity: String,
    pub(crate) version: usize,
    pub(crate) route: bool,
    /// Versions between two checkpoints. Where segments end differs from instance to instance, as if
    /// programs of several releases were at work.
    pub(crate) fold_every: u64,
    pub(crate) now_us: Arc<AtomicI64>,
}

impl Function {
    pub(crate) fn start(of: Deployment<'_>, plan: &Plan, random: &mut Random) -> Self {
        let skew_us = random.pick(&[0, 0, -300_000_000, 7_000_000, 86_400_000_000]);
        let clock = Arc::new(SkewedClock { now_us: of.now_us, skew_us });
        let store = Arc::new(ProcessStore { objects: of.objects.clone(), process: of.process });
        let retry = Retry { tries: 6, pause: Duration::ZERO };
        let lake = LakeStore::new(store.clone(), Default::default(), "s3://lake");
        let lake = lake.with_s3_answers().with_retry(retry);
        let tables = vec![tables::schema(of.version, of.route)];
        let engine = if plan.broken.is_driven() {
            Engine::Driven(Box::new(Driver::new(lake, tables, of.identity, plan.broken)))
        } else {
            let catalog = Arc::new(FolderCatalog::new(store, Default::default(), "s3://lake"));
            // Calm worlds keep every commit in reach, so that no dead file is forgotten.
            let folding = if plan.calm {
                Folding { every: 1_000, segment: 1_000, commits: 100 }
            } else {
                Folding {
                    segment: random.pick(&[2, 3, 6]),
                    commits: random.pick(&[1, 4, 48]),
                    every: of.fold_every,
                }
            };
            let ingest = Ingest::new(lake, catalog, tables, of.identity, clock.clone())
                .with_consumer(Some(CONSUMER.into()));
            Engine::Deployed(Box::new(ingest.with_folding(folding)))
        };
        // Few records fit the smaller bound, and each alone does.
        let limits = UnpackLimits { batch_bytes: random.pick(&[150, 1 << 20]), ..UnpackLimits::default() };
        let (unpacker, event) = (Unpacker::new(limits), ParsedEvent::default());
        let (process, incarnation, version) = (of.process, of.incarnation, of.version);
        Self { process, incarnation, version, engine, unpacker, event, clock }
    }

    /// One invocation; `in_time` is false if the deadline is near before it begins.
    pub(crate) async fn invoke(mut self, text: String, id: String, in_time: bool) -> (Self, Invoked) {
        self.event.clear();
        if self.event.parse(&mut self.unpacker, text.as_bytes()).is_err() {
            return (self, Invoked::FunctionError);
        }
        let reserve = if in_time { 60_000_000 } else { -1 };
        let build_until = EpochMicros(self.clock.now().0 + reserve);
        let outcome = match &mut self.engine {
            Engine::Deployed(ingest) => {
                let attempt = Attempt { event: &self.event, id: &id, build_until };
                ingest.process(&attempt).await.map(|done| done.first_uncommitted)
            }
            Engine::Driven(driver) => driver.process(&self.event, &id, &*self.clock, build_until).await,
        };
        let answer = match outcome {
            Ok(first) => Invoked::Answer(first.or(self.event.untaken_from).map(text_of)),
            Err(e) if e.retryable() => Invoked::Answer(self.event.sequences.first().copied().map(text_of)),
            Err(_) => Invoked::FunctionError,
        };
        (self, answer)
    }
}

fn text_of(sequence: SequenceNumber) -> String {
    sequence.to_string()
}

/// The event that the mapping makes of some records.
pub(crate) fn event_text(shard: &str, records: &[&Record], tumbling: bool) -> String {
    let mut text = String::from(r#"{"Records":["#);
    for (i, record) in records.iter().enumerate() {
        let (comma, sequence) = (if i > 0 { "," } else { "" }, record.sequence());
        let data = STANDARD.encode_to_string(&record.payload);
        let (seconds, ms) = (record.arrived_ms / 1_000, record.arrived_ms % 1_000);
        let _ = write!(
            text,
            r#"{comma}{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{}","sequenceNumber":"{sequence}","data":"{data}","approximateArrivalTimestamp":{seconds}.{ms:03}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"{shard}:{sequence}","eventName":"aws:kinesis:record","awsRegion":"eu-west-1","eventSourceARN":"{ARN}"}}"#,
            record.key
        );
    }
    text.push(']');
    if tumbling {
        text.push_str(r#","window":{"start":"2026-11-20T22:00:00Z","end":"2026-11-20T22:01:00Z"},"state":{},"isFinalInvokeForWindow":false"#);
    }
    text.push('}');
    text
}

/// Worlds whose instances run the driver.
impl Broken {
    pub(crate) fn is_driven(self) -> bool {
        matches!(
            self,
            Broken::DrivenByTheRules
                | Broken::HighWaterMark
                | Broken::NoRecheck
                | Broken::OwnCommitUnknown
                | Broken::DeadNotListed
                | Broken::RandomSuffix
                | Broken::CutInsideARecord
        )
    }
}
