#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! What the commit protocol costs of a full batch: the CPU time of the exact set, the commit object,
//! the redelivery check and the writer's memory, as a share of the whole way from event bytes to a
//! committed version, for batches of 10,000 Kinesis records of about 540 B on a store in memory.
//! Panics if it is not under 3 %.

use std::sync::Arc;
use std::time::Duration;

use weir::clock::EpochMicros;
use weir::commit::{LakeStore, Outcome, PositionSet, ShardWriter};
use weir::event::ParsedEvent;
use weir::pipeline::{BuildCounts, Delivery, Tables};
use weir::record::Shard;
use weir::schema::TableSchema;
use weir::unpack::Unpacker;
use weir_bench::{clickstream, kinesis};

const RECORDS: usize = 10_000;
/// Several times what lies between two checkpoints, so that folding has its share.
const BATCHES: u32 = 96;
const BOUND: f64 = 0.03;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (whole, protocol) = runtime.block_on(measure());
    let (whole, protocol) = (whole / BATCHES, protocol / BATCHES);
    let share = protocol.as_secs_f64() / whole.as_secs_f64();
    println!(
        "a batch of {RECORDS} records: {whole:.2?} of CPU, the protocol {protocol:.0?}: {:.2} %",
        share * 100.0
    );
    assert!(share < BOUND, "the protocol takes more than {} % of a batch", BOUND * 100.0);
}

/// CPU time of all batches, and of the protocol in it.
async fn measure() -> (Duration, Duration) {
    let table = Arc::new(TableSchema::parse(include_str!("../../schemas/clickstream.json")).unwrap());
    let shard = Shard { stream: "s".into(), stream_key: "s-0".into(), shard: "shardId-0".into() };
    let mut tables = Tables::new(&shard, &[table]).unwrap();
    let mut writer = ShardWriter::new(LakeStore::open("memory:///", &[]).unwrap(), shard);
    let (mut unpacker, mut event) = (Unpacker::default(), ParsedEvent::default());
    let records = clickstream::records(RECORDS, 7);
    let (mut whole, mut protocol) = (Duration::ZERO, Duration::ZERO);
    for n in 0..BATCHES {
        let first = kinesis::Position::default();
        let text = kinesis::event(
            &records,
            kinesis::Position {
                first_sequence: first.first_sequence + u128::from(n) * 2 * RECORDS as u128,
                ..first
            },
        );
        let begun = cpu_time();
        event.parse(&mut unpacker, text.as_bytes()).unwrap();
        let parsed = cpu_time();
        let positions: PositionSet = event.sequences.iter().copied().collect();
        let mut building = Duration::ZERO;
        let mut build = |left: &PositionSet| {
            let begun = cpu_time();
            let (batch, dead, now) = (&event.batch, event.dead_letters.as_slice(), EpochMicros(0));
            let delivery = Delivery { batch, dead, positions: &positions, now };
            let built = tables.build(&delivery, left, &|| true, &mut BuildCounts::default());
            building += cpu_time() - begun;
            built
        };
        let id = format!("00000000-0000-0000-0000-{n:012}");
        let outcome = writer.commit(&positions, EpochMicros(0), &id, &mut build).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        let done = cpu_time();
        whole += done - begun;
        protocol += done - parsed - building;
    }
    (whole, protocol)
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and the pointer is to a value of ours.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(answer, 0, "the thread has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
