//! Fixtures → seeds of each target, and seeds → mutations of them.

use std::path::{Path, PathBuf};

use base64_simd::STANDARD;
use weir::clock::EpochMicros;
use weir::commit::PositionSet;
use weir::commit::format::{Commit, CommitHeader, CommittedFile, FORMAT};
use weir::partition::PartitionPath;
use weir::record::RecordId;

/// Small reproducible random numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files below a folder that end with `ending`; of real input that is absent, none with a notice.
fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("no seeds from {}: set WEIR_DATA to the folder of the real input data", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let wanted = |path: &&PathBuf| path.is_file() && path.to_string_lossy().ends_with(ending);
    let read = paths.iter().filter(wanted).map(|path| std::fs::read(path).unwrap());
    read.filter(|bytes| bytes.len() < 64 << 10).collect()
}

fn data(folder: &str) -> PathBuf {
    let root = std::env::var_os("WEIR_DATA");
    root.map_or_else(|| checkout().join("../shared/data"), PathBuf::from).join(folder)
}

/// Good and bad sample records of the tables, one a line.
fn samples() -> Vec<Vec<u8>> {
    files(&checkout().join("schemas/samples"), "json")
        .iter()
        .flat_map(|file| file.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
        .filter(|line| !line.is_empty())
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

const ENVELOPE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"12","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":5,"message":"{\"a\":1}"},{"id":"2","timestamp":6,"message":"plain","extractedFields":{"k":"v"}}]}"#;

pub(crate) fn event() -> Vec<Vec<u8>> {
    let mut seeds = vec![record_of(b"{\"a\":1}"), record_of(&gzip(ENVELOPE.as_bytes()))];
    for library in ["powertools-python", "rust-runtime"] {
        let recorded = files(&data("lambda-events").join(library), ".json");
        let of_a_stream = |event: &Vec<u8>| {
            let text = String::from_utf8_lossy(event);
            text.contains("aws:kinesis") || text.contains("aws:dynamodb")
        };
        seeds.extend(recorded.into_iter().filter(of_a_stream));
    }
    seeds
}

/// An event of one record.
pub(crate) fn record_of(payload: &[u8]) -> Vec<u8> {
    let data = STANDARD.encode_to_string(payload);
    format!(
        r#"{{"Records":[{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"1","sequenceNumber":"496","data":"{data}","approximateArrivalTimestamp":1545084650.987}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:496","eventSourceARN":"arn:aws:kinesis:us-east-2:1:stream/s"}}],"window":{{"start":"a"}},"state":{{"1":[282]}},"shardId":"x","isFinalInvokeForWindow":false}}"#
    )
    .into_bytes()
}

pub(crate) fn unpack() -> Vec<Vec<u8>> {
    let lines = samples().into_iter().take(6).collect::<Vec<_>>().join(&b'\n');
    let pretty = b"{\n \"a\": [\n {\n }, {\n \"b\": \"}\"\n}\n]\n}\n{\"c\":1}\nbroken {\n{\"d\":1}".to_vec();
    let mut seeds = vec![
        gzip(&lines),
        zstd::encode_all(lines.as_slice(), 3).unwrap(),
        lines,
        pretty,
        ENVELOPE.as_bytes().to_vec(),
        gzip(ENVELOPE.as_bytes()),
        gzip(&gzip(b"{}")),
    ];
    seeds.extend(aggregates());
    seeds
}

/// Aggregates of another producer: the first line of each file, in base64.
fn aggregates() -> Vec<Vec<u8>> {
    files(&checkout().join("tests/fixtures/kpl"), "")
        .iter()
        .map(|file| STANDARD.decode_to_vec(file.split(|b| *b == b'\n').next().unwrap()).unwrap())
        .collect()
}

/// Changes of items, one of them with every type.
pub(crate) fn change() -> Vec<Vec<u8>> {
    let every_type = r#"{"eventName":"MODIFY","eventSource":"aws:dynamodb","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"dynamodb":{"ApproximateCreationDateTime":1480642020,"ApproximateCreationDateTimePrecision":"MILLISECOND","Keys":{"k":{"S":"a"}},"NewImage":{"k":{"S":"aé
"},"_op":{"N":"-12.5E+3"},"b":{"B":"AAEqQQ=="},"t":{"BOOL":true},"n":{"NULL":true},"m":{"M":{"l":{"L":[{"M":{}},{"SS":["x",""]},{"NS":["1","2"]},{"BS":["AA=="]}]}}}},"OldImage":{"k":{"S":"a"}}}}"#;
    let mut seeds = samples();
    seeds.retain(|line| line.windows(12).any(|w| w == b"aws:dynamodb"));
    seeds.push(every_type.as_bytes().to_vec());
    seeds
}

pub(crate) fn kpl() -> Vec<Vec<u8>> {
    // Without magic and digest: the target adds them.
    aggregates().iter().map(|whole| whole[4..whole.len() - 16].to_vec()).collect()
}

pub(crate) fn decode() -> Vec<Vec<u8>> {
    let every_type = br#"{"s":"\u00e9\ud83d\ude00","v":"ab","b":true,"t":-128,"i":1e3,"l":9223372036854775807,"f":1.5,"d":-0.1e-7,"p":12.50,"q":1.1,"at":"2026-11-20T05:00:00.123+01:00","day":"2026-11-20","e":1700000000123,"y":"AAEC","a":[[1],[],null],"m":{"k":["x",null]},"o":{"x":1,"y":{"z":"q"},"w":[{"k":1.5}]},"other":[{}]}"#;
    let mut seeds = vec![every_type.to_vec(), every_type.repeat(3)];
    seeds.extend(samples());
    seeds.extend(files(&data("json-conformance"), ".json").into_iter().filter(|case| case.len() < 4_096));
    seeds
}

pub(crate) fn commit() -> Vec<Vec<u8>> {
    let real: u128 = 11_583_641_568_799_068_265_984_305_715_493_797_890;
    let numbers = (0..200).map(|i| format!("496546115410264685{:038}", real + i * 3).parse().unwrap());
    let sets: [PositionSet; 3] = [
        numbers.collect(),
        PositionSet::from_ranges([0..10, 12..900, 1_000..1 << 40]),
        PositionSet::default(),
    ];
    let mut seeds: Vec<_> = sets.iter().map(|set| weir::commit::encoding::encode_set(set).unwrap()).collect();
    seeds.extend(sets.iter().map(|set| Commit::encode(&header(set), set).unwrap().to_vec()));
    seeds
}

fn header(set: &PositionSet) -> CommitHeader {
    let file = CommittedFile {
        table: "clicks".into(),
        partition: PartitionPath::from_values([("dt", Some("2026-11-20"))]),
        name: "ab-s-0-7.3.parquet".into(),
        rows: 2,
        bytes: 10,
        first: RecordId { sequence: 7.into(), subsequence: 3 },
        schema_version: "1f".into(),
        quarantine: false,
    };
    CommitHeader {
        format: FORMAT,
        attempt: "a".into(),
        min: set.min(),
        max: set.max(),
        positions: set.count(),
        rows: 2,
        quarantined: 0,
        files: vec![file],
        dead: vec!["x".into()],
        drops: vec![],
        replaces: vec!["y".into()],
        arrived_through: EpochMicros(5),
        weir: "0.1.0".into(),
    }
}

/// Bytes that matter to one of the formats.
const TOKENS: [&[u8]; 26] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b":",
    b",",
    b"\n",
    b"\n{",
    b"null",
    b"-",
    b"0",
    b"1e999",
    b"9",
    b".",
    b"\\ud800",
    b"\\u0000",
    b"\xC3",
    b"\xFF",
    b"\x1F\x8B\x08",
    b"\x28\xB5\x2F\xFD",
    b"\xF3\x89\x9A\xC2",
    b"\x1A",
    b"\x80",
    b"{\"messageType\"",
];

/// One to eight edits: bits and bytes changed, inserted, deleted, repeated, spliced from another seed.
pub(crate) fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(8) {
        let at = random.below(bytes.len() + 1);
        let most = 1 << random.below(9);
        let end = (at + 1 + random.below(most)).min(bytes.len());
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 => _ = bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied()),
            3 => _ = bytes.drain(at..end.max(at)),
            4 if at < end => {
                let repeated = bytes[at..end].repeat(2 + random.below(30));
                _ = bytes.splice(at..at, repeated);
            }
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                _ = bytes.splice(at..end.max(at), other[from..].iter().copied());
            }
            6 => bytes.truncate(at),
            _ => _ = bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].repeat(1 + random.below(200))),
        }
        bytes.truncate(64 << 10);
    }
    bytes
}
