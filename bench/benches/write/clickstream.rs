//! Made-up clickstream rows, straight into column buffers.

use std::time::Duration;

use weir::columns::{ColumnSet, Layout};
use weir::schema::{
    Column, Compression, HiveType, Provenance, StructField, TableSchema, TimeFormat, UnknownFields,
};

fn columns() -> Vec<(&'static str, HiveType)> {
    let member = |name: &str, ty| StructField { name: name.into(), key: name.into(), ty };
    let money = || HiveType::Decimal { precision: 10, scale: 2 };
    let item =
        vec![member("sku", HiveType::String), member("quantity", HiveType::Int), member("price", money())];
    vec![
        ("event_id", HiveType::String),
        ("event_time", HiveType::Timestamp),
        ("user_id", HiveType::BigInt),
        ("session_id", HiveType::String),
        ("url", HiveType::String),
        ("referrer", HiveType::String),
        ("ip", HiveType::String),
        ("user_agent", HiveType::String),
        ("country", HiveType::String),
        ("status", HiveType::Int),
        ("duration_ms", HiveType::Int),
        ("amount", money()),
        ("score", HiveType::Double),
        ("is_bot", HiveType::Boolean),
        ("items", HiveType::Array(Box::new(HiveType::Struct(item)))),
        ("tags", HiveType::Array(Box::new(HiveType::String))),
    ]
}

/// The layout of the table, with provenance columns.
pub(crate) fn layout() -> Layout {
    let columns = columns();
    let column = |(name, ty): &(&str, HiveType)| Column {
        name: (*name).into(),
        ty: ty.clone(),
        comment: None,
        from: vec![(*name).into()],
        required: false,
        min: None,
        max: None,
        pattern: None,
        allowed: None,
        max_length: None,
        default: None,
        transforms: Vec::new(),
        time_format: TimeFormat::Rfc3339,
    };
    Layout::of(&TableSchema {
        name: "clickstream".into(),
        columns: columns.iter().map(column).collect(),
        in_file: vec![true; columns.len()],
        partition_keys: Vec::new(),
        event_time: Some(1),
        allowed_lateness: Duration::from_secs(600),
        max_future: None,
        max_age: None,
        unknown_fields: UnknownFields::Ignore,
        route: None,
        compression: Compression::Zstd,
        provenance: Provenance::Columns,
        bloom: Vec::new(),
        version: String::new(),
    })
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// Small numbers often, large ones seldom.
    fn skewed(&mut self, n: u64) -> u64 {
        let top = self.below(n) + 1;
        self.below(top)
    }
}

/// Append rows.
pub(crate) fn fill(set: &mut ColumnSet, rows: usize) {
    let mut r = Random(1);
    let mut time = 1_795_000_000_000_000i64;
    let mut sequence = 49_590_338_271_490_256_608u128;
    for _ in 0..rows {
        time += r.below(2_000) as i64 * 1_000;
        sequence += u128::from(r.below(1 << 20)) + 1;
        let user = r.skewed(20_000);
        let l = &mut set.leaves;
        let id = (r.next(), r.next());
        let id =
            format!("{:08x}-{:04x}-4{:03x}-{:016x}", id.0 >> 32, id.0 >> 16 & 0xFFFF, id.0 & 0xFFF, id.1);
        l[0].push_bytes(id.as_bytes(), 0);
        l[1].push_i64(time, 0);
        l[2].push_i64(user as i64 * 7_919 + 100_000, 0);
        let session = Random(user * 5 + r.below(3)).next();
        l[3].push_bytes(format!("{session:016x}").as_bytes(), 0);
        l[4].push_bytes(format!("https://shop.example/products/{}", r.skewed(5_000)).as_bytes(), 0);
        match r.below(3) {
            0 => l[5].push_null(0, 0),
            _ => l[5].push_bytes(format!("https://search.example/?q={}", r.skewed(2_000)).as_bytes(), 0),
        }
        let ip = r.next().to_le_bytes();
        l[6].push_bytes(format!("{}.{}.{}.{}", ip[0], ip[1], ip[2], ip[3]).as_bytes(), 0);
        l[7].push_bytes(format!("Mozilla/5.0 (X11; Linux) Browser/{}.0", r.skewed(300)).as_bytes(), 0);
        l[8].push_bytes([b"DE", b"US", b"FR", b"JP", b"BR"][r.skewed(5) as usize], 0);
        l[9].push_i32([200, 304, 404, 500][r.skewed(4) as usize], 0);
        l[10].push_i32(r.skewed(30_000) as i32, 0);
        match r.below(10) {
            0 => l[11].push_i64(r.skewed(50_000) as i64, 0),
            _ => l[11].push_null(0, 0),
        }
        l[12].push_f64(r.next() as f64 / u64::MAX as f64, 0);
        l[13].push_bool(u8::from(r.below(50) == 0), 0);
        match r.below(4) {
            0 => set.push_null(14..17, 1, 0),
            n => (0..n).for_each(|i| {
                let rep = u8::from(i > 0);
                let l = &mut set.leaves;
                l[14].push_bytes(format!("SKU-{:05}", r.skewed(8_000)).as_bytes(), rep);
                l[15].push_i32(1 + r.skewed(5) as i32, rep);
                l[16].push_i64(99 + 100 * r.skewed(300) as i64, rep);
            }),
        }
        let l = &mut set.leaves;
        match r.below(3) {
            0 => l[17].push_null(1, 0),
            n => (0..n)
                .for_each(|i| l[17].push_bytes(format!("tag-{}", r.skewed(40)).as_bytes(), u8::from(i > 0))),
        }
        l[18].push_repeated(b"clicks", 0);
        l[19].push_repeated(b"shardId-000000000003", 0);
        l[20].push_bytes(format!("495903382714902566085596{sequence:032}").as_bytes(), 0);
        l[21].push_i32(0, 0);
        l[22].push_i64(time / 1_000_000 * 1_000_000 + 350_000, 0);
        set.finish_row();
    }
}
