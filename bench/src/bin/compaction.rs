#![allow(clippy::unwrap_used, reason = "a bench")]
//! A partition of many small files, and its compaction, for `bench/compact.py`.
//!
//! ```text
//! compaction make FOLDER FILES ROWS      a lake of so many live files, and inputs.json
//! compaction run FOLDER SORT DEDUPE MIB  compact it into FOLDER/clickstream/closed (`-` for none)
//! ```

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use weir::clock::{EpochMicros, SystemClock};
use weir::commit::LakeStore;
use weir::compact::{Compaction, Input, Limits, Progress, run};
use weir::pipeline::RowBuffers;
use weir::record::{RecordId, SequenceNumber, Shard};
use weir::schema::TableSchema;
use weir_bench::clickstream;

/// Shards whose windows lie side by side.
const SHARDS: u64 = 10;
/// All event times are within so many milliseconds, and so in one partition.
const SPAN_MS: u64 = 2_900_000;
/// 2026-11-20T08:10Z
const START_US: i64 = 1_795_162_200_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", folder, files, rows] => {
            make(Path::new(folder), files.parse().unwrap(), rows.parse().unwrap())
        }
        ["run", folder, sort, dedupe, mib] => compact(Path::new(folder), sort, dedupe, mib.parse().unwrap()),
        _ => panic!("compaction make FOLDER FILES ROWS | compaction run FOLDER SORT DEDUPE MIB"),
    }
}

fn table() -> TableSchema {
    TableSchema::parse(include_str!("../../../schemas/clickstream.json")).unwrap()
}

fn make(folder: &Path, files: u64, rows: usize) {
    let live = folder.join("clickstream/live");
    std::fs::create_dir_all(&live).unwrap();
    let schema = Arc::new(table());
    let mut inputs = Vec::new();
    for file in 0..files {
        let (shard, turn) = (file % SHARDS, file / SHARDS);
        let turns = files.div_ceil(SHARDS);
        let window = SPAN_MS * turn / turns..SPAN_MS * (turn + 1) / turns;
        let arrived = EpochMicros(START_US + window.end as i64 * 1_000);
        let shard = Shard {
            stream: "clicks".into(),
            stream_key: "clicks-00000000".into(),
            shard: format!("shardId-{shard:012}").as_str().into(),
        };
        let mut buffers = RowBuffers::new(Arc::clone(&schema), shard, 64 << 20).unwrap();
        let first = 49_590_338_271_490_256_608_559_692_538_361_571_095u128 + u128::from(file) * 1_000_003;
        for (i, record) in clickstream::records_within(rows, file + 1, window).iter().enumerate() {
            let text = format!("{}{:018}", first, i * 977);
            let sequence = SequenceNumber::parse(text.as_bytes()).unwrap();
            let id = RecordId { sequence, subsequence: 0 };
            assert!(buffers.push(record, false, id, arrived).unwrap().is_none(), "a dead letter");
        }
        let taken = buffers.take_files().unwrap();
        let [made] = taken.as_slice() else { panic!("the rows are of {} partitions", taken.len()) };
        let name = format!("{file:05}.parquet");
        std::fs::write(live.join(&name), &made.bytes).unwrap();
        inputs.push(json!([format!("clickstream/live/{name}"), made.rows, made.bytes.len()]));
    }
    std::fs::write(folder.join("inputs.json"), serde_json::to_vec(&inputs).unwrap()).unwrap();
}

fn compact(folder: &Path, sort: &str, dedupe: &str, mib: u64) {
    let list = |text: &str| match text {
        "-" => Vec::new(),
        text => text.split(',').map(str::to_owned).collect(),
    };
    let mut schema = table();
    (schema.sort, schema.dedupe_key, schema.bloom) = (list(sort), list(dedupe), Vec::new());
    let inputs: Value = serde_json::from_slice(&std::fs::read(folder.join("inputs.json")).unwrap()).unwrap();
    let inputs: Vec<Input> = inputs.as_array().unwrap().iter().map(input).collect();
    let lake = LakeStore::open(&format!("file://{}", folder.display()), &[]).unwrap();
    let scratch = folder.join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let compaction = Compaction {
        schema: &schema,
        inputs: &inputs,
        directory: "clickstream/closed/r0001-bench",
        work: "_work/r0001-bench",
        scratch: &scratch,
        limits: Limits { memory: mib << 20, ..Limits::default() },
        until: EpochMicros(i64::MAX),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    loop {
        match runtime.block_on(run(&lake, &SystemClock, &compaction)).unwrap() {
            Progress::Finished(compacted) => break println!("{compacted:?}"),
            Progress::Unfinished { done, of } => eprintln!("{done} of {of}"),
        }
    }
}

fn input(entry: &Value) -> Input {
    Input {
        key: entry[0].as_str().unwrap().to_owned(),
        rows: entry[1].as_u64().unwrap(),
        bytes: entry[2].as_u64().unwrap(),
    }
}
