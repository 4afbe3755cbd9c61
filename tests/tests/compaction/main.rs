#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! Compaction as readers see it: DuckDB, PyArrow, Polars, DataFusion and ClickHouse read the same rows
//! before and after, and in the order that the table asks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use weir::clock::{EpochMicros, SystemClock};
use weir::commit::LakeStore;
use weir::compact::{Compacted, Compaction, Input, Limits, Progress, run};
use weir::pipeline::RowBuffers;
use weir::record::{RecordId, Shard};
use weir::schema::TableSchema;
use weir_tests::python::Python;
use weir_tests::readers;

const ARRIVED: i64 = 1_795_162_200_000_000;

fn table(parameters: Value) -> TableSchema {
    let column = |name: &str, ty: &str| json!({"Name": name, "Type": ty});
    let columns = [
        column("id", "bigint"),
        column("small", "smallint"),
        column("ratio", "double"),
        column("flag", "boolean"),
        column("name", "string"),
        column("raw", "binary"),
        column("price", "decimal(9,2)"),
        column("amount", "decimal(18,6)"),
        column("wide", "decimal(38,10)"),
        column("at", "timestamp"),
        column("day", "date"),
        column("device", "struct<os:string,screen:struct<width:int>>"),
        column("items", "array<struct<sku:string,qty:int,price:decimal(10,2)>>"),
        column("tags", "array<array<string>>"),
        column("properties", "map<string,string>"),
    ];
    let table = json!({"Name": "t", "StorageDescriptor": {"Columns": columns}, "Parameters": parameters});
    TableSchema::parse(&table.to_string()).unwrap()
}

/// Small reproducible random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn maybe(&mut self, value: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.below(8) == 0 { Value::Null } else { value(self) }
    }

    fn text(&mut self) -> Value {
        const TEXTS: [&str; 5] = ["", "plain", "café", "\u{1f30a} wave", "quote \" and \\"];
        match self.below(7) {
            5 => json!(format!("text-{}", self.below(1_000_000_000))),
            6 => json!("long ".repeat(self.below(40) as usize)),
            i => json!(TEXTS[i as usize]),
        }
    }

    fn record(&mut self) -> Value {
        let (day, second) = (1 + self.below(28), self.below(60));
        let items = |r: &mut Self| -> Value {
            let item = |r: &mut Self| {
                let price = format!("#{}.{:02}#", r.below(99_999), r.below(100));
                json!({"sku": r.maybe(Self::text), "qty": r.maybe(|r| json!(r.below(9))), "price": price})
            };
            (0..r.below(4)).map(|_| item(r)).collect()
        };
        json!({
            "id": self.below(6_000),
            "small": self.maybe(|r| json!(r.below(60_000) as i64 - 30_000)),
            "ratio": self.maybe(|r| json!(r.below(1_000_000) as f64 / 1024.0 - 300.0)),
            "flag": self.maybe(|r| json!(r.below(2) == 1)),
            "name": self.maybe(Self::text),
            "raw": self.maybe(|r| json!(["", "AA==", "/+8=", "d2Vpcg=="][r.below(4) as usize])),
            "price": self.maybe(|r| json!(format!("#-{}.{:02}#", r.below(999_999), r.below(100)))),
            "amount": self.maybe(|r| json!(format!("#{}.{:06}#", r.below(99_999_999), r.below(1_000_000)))),
            "wide": self.maybe(|r| json!(format!("#{}.{:010}#", r.below(1 << 60), r.below(1_000_000)))),
            "at": self.maybe(|_| json!(format!("2026-11-{day:02}T08:10:{second:02}.123456Z"))),
            "day": self.maybe(|_| json!(format!("2026-11-{day:02}"))),
            "device": self.maybe(|r| {
                let screen = r.maybe(|r| json!({"width": r.maybe(|r| json!(r.below(3_000)))}));
                json!({"os": r.maybe(Self::text), "screen": screen})
            }),
            "items": self.maybe(items),
            "tags": self.maybe(|r| {
                (0..r.below(3)).map(|_| r.maybe(|r| (0..r.below(3)).map(|_| r.maybe(Self::text)).collect())).collect()
            }),
            "properties": self.maybe(|r| (0..r.below(3)).map(|i| (format!("k{i}"), r.maybe(Self::text))).collect()),
        })
    }
}

/// Live files as `ingest` writes them.
fn live(folder: &Path, schema: &TableSchema, files: u64, rows: u64) -> Vec<Input> {
    std::fs::create_dir_all(folder.join("t/live")).unwrap();
    let mut random = Random(7);
    let file = |file: u64| {
        let shard =
            Shard { stream: "s".into(), stream_key: "s-0".into(), shard: format!("{file}").as_str().into() };
        let mut buffers = RowBuffers::new(Arc::new(schema.clone()), shard, 64 << 20).unwrap();
        for row in 0..rows {
            // Decimals are numbers, with more digits than a JSON library's own number holds.
            let record = random.record().to_string().replace("\"#", "").replace("#\"", "");
            let id = RecordId { sequence: (file * 1_000_000 + row).into(), subsequence: 0 };
            let arrived = EpochMicros(ARRIVED + random.below(1_000_000) as i64);
            let refused = buffers.push(record.as_bytes(), false, id, arrived).unwrap();
            assert!(refused.is_none(), "{refused:?} of {record}");
        }
        let made = buffers.take_files().unwrap().remove(0);
        let key = format!("t/live/{file:05}.parquet");
        std::fs::write(folder.join(&key), &made.bytes).unwrap();
        Input { key, rows: made.rows, bytes: made.bytes.len() as u64 }
    };
    (0..files).map(file).collect()
}

fn compact(folder: &Path, schema: &TableSchema, inputs: &[Input], memory: u64) -> (Compacted, Vec<PathBuf>) {
    let lake = LakeStore::open(&format!("file://{}", folder.display()), &[]).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let compaction = Compaction {
        schema,
        inputs,
        directory: "t/closed/r0001-x",
        work: "work/r0001-x",
        scratch: scratch.path(),
        limits: Limits { memory, ..Limits::default() },
        until: EpochMicros(i64::MAX),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Progress::Finished(compacted) = runtime.block_on(run(&lake, &SystemClock, &compaction)).unwrap()
    else {
        panic!("there is time")
    };
    let files = compacted.files.iter().map(|file| folder.join("t/closed/r0001-x").join(&file.name)).collect();
    (compacted, files)
}

fn in_order(python: &Python, columns: &str, files: &[PathBuf]) -> Value {
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), serde_json::to_vec(files).unwrap()).unwrap();
    let answer = python.run("readers/sorted.py", [columns.as_ref(), list.path().as_os_str()]);
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn readers_see_the_same_rows_before_and_after_and_find_them_in_order() {
    let Some(python) = Python::get() else { return };
    let lake = tempfile::tempdir().unwrap();
    let mut schema = table(json!({"weir.sort": "name,at", "weir.bloom": "name"}));
    schema.compact_bytes = 300_000;
    let inputs = live(lake.path(), &schema, 24, 500);
    let before: Vec<PathBuf> = inputs.iter().map(|input| lake.path().join(&input.key)).collect();
    // So little memory that rows are parted first.
    let (compacted, after) = compact(lake.path(), &schema, &inputs, 2 << 20);
    assert!(after.len() > 1, "{compacted:?}");
    assert_eq!((compacted.rows_read, compacted.rows_removed), (12_000, 0));
    let (seen_before, seen_after) =
        (readers::read_alike(&python, &before), readers::read_alike(&python, &after));
    assert_eq!(seen_before, seen_after);
    assert_eq!(seen_after["rows"], 12_000);
    let order = in_order(&python, "name,at", &after);
    assert_eq!((order["rows"].as_u64(), order["breaks"].as_u64()), (Some(12_000), Some(0)), "{order}");
}

#[test]
fn readers_find_one_row_of_each_key() {
    let Some(python) = Python::get() else { return };
    for memory in [256 << 20, 1 << 20] {
        let lake = tempfile::tempdir().unwrap();
        let schema = table(json!({"weir.sort": "at", "weir.dedupe_key": "id"}));
        let inputs = live(lake.path(), &schema, 12, 500);
        let before: Vec<PathBuf> = inputs.iter().map(|input| lake.path().join(&input.key)).collect();
        let (compacted, after) = compact(lake.path(), &schema, &inputs, memory);
        let keys = in_order(&python, "id", &before)["distinct"]["id"].as_u64().unwrap();
        let found = in_order(&python, "at,id", &after);
        assert_eq!(found["rows"].as_u64(), Some(keys));
        assert_eq!(found["distinct"]["id"].as_u64(), Some(keys));
        assert_eq!(compacted.rows_removed, 6_000 - keys);
        assert_eq!(in_order(&python, "at", &after)["breaks"].as_u64(), Some(0));
    }
}
