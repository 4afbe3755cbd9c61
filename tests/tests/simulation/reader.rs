//! What lies in the store, read by docs/COMMIT_PROTOCOL.md alone: commits, checkpoints, segments
//! and Parquet files. It shares no code with the writer, so that a mistake in the one is not
//! repeated by the other.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;
use sha2::{Digest, Sha256};

const NEWEST: u64 = 999_999_999_999;

/// A file that a commit lists.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) partition: String,
    pub(crate) quarantine: bool,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) schema_version: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) version: u64,
    /// Sequence numbers in decimal, in the order of the file.
    pub(crate) set: Vec<String>,
    pub(crate) files: Vec<Listed>,
    /// Names that it calls dead.
    pub(crate) dead: Vec<String>,
}

/// Stream key and shard.
pub(crate) type ChainName = (String, String);

/// Where a version lies.
pub(crate) fn commit_key((stream, shard): &ChainName, version: u64) -> String {
    format!("_weir/commits/{stream}/{shard}/{:012}.commit", NEWEST - version)
}

/// Reads chains, and remembers what it has parsed: what was created never changes, and if it does,
/// its bytes are other ones.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    parsed: HashMap<String, (Bytes, Rc<Commit>)>,
    rows: HashMap<String, (Bytes, Rc<Rows>)>,
}

/// Rows with their position in the stream.
pub(crate) type Rows = Vec<((String, u32), Row)>;

type Objects = BTreeMap<String, Bytes>;

impl Reader {
    /// All chains, each ascending by version.
    pub(crate) fn chains(
        &mut self,
        objects: &Objects,
    ) -> Result<BTreeMap<ChainName, Vec<Rc<Commit>>>, String> {
        let mut chains: BTreeMap<ChainName, Vec<Rc<Commit>>> = BTreeMap::new();
        for (key, bytes) in objects.range("_weir/commits/".to_owned()..) {
            let Some(rest) = key.strip_prefix("_weir/commits/") else { break };
            let parts: Vec<&str> = rest.split('/').collect();
            let [stream, shard, name] = parts[..] else { continue };
            let Some(number) = name.strip_suffix(".commit") else { continue };
            let version = NEWEST - number.parse::<u64>().map_err(|e| format!("{key}: {e}"))?;
            let commit = self.commit(key, version, bytes)?;
            chains.entry((stream.into(), shard.into())).or_default().push(commit);
        }
        for commits in chains.values_mut() {
            commits.sort_by_key(|c| c.version);
        }
        Ok(chains)
    }

    /// The rows of a file.
    pub(crate) fn rows(&mut self, key: &str, bytes: &Bytes, quarantine: bool) -> Result<Rc<Rows>, String> {
        if let Some((known, rows)) = self.rows.get(key)
            && known == bytes
        {
            return Ok(rows.clone());
        }
        let rows = Rc::new(rows(bytes, quarantine)?);
        self.rows.insert(key.to_owned(), (bytes.clone(), rows.clone()));
        Ok(rows)
    }

    fn commit(&mut self, key: &str, version: u64, bytes: &Bytes) -> Result<Rc<Commit>, String> {
        if let Some((known, commit)) = self.parsed.get(key)
            && known == bytes
        {
            return Ok(commit.clone());
        }
        let commit = Rc::new(parse_commit(version, bytes).map_err(|e| format!("{key}: {e}"))?);
        self.parsed.insert(key.to_owned(), (bytes.clone(), commit.clone()));
        Ok(commit)
    }
}

fn parse_commit(version: u64, bytes: &[u8]) -> Result<Commit, String> {
    let (header, set) = header_and_rest(bytes)?;
    let set = numbers(set)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ends = (set.first().map(String::as_str), set.last().map(String::as_str));
    if (header["min"].as_str(), header["max"].as_str()) != ends
        || header["positions"].as_u64() != Some(set.len() as u64)
    {
        return Err("the header does not describe the set".into());
    }
    let files = header["files"].as_array().ok_or("no files")?;
    let listed = |file: &Value| {
        let (table, partition) = (text(&file["table"]), text(&file["partition"]));
        let quarantine = file["quarantine"].as_bool().unwrap_or(false);
        Listed {
            key: format!("{table}/live/{partition}/{}", text(&file["name"])),
            partition,
            quarantine,
            rows: file["rows"].as_u64().unwrap_or(u64::MAX),
            bytes: file["bytes"].as_u64().unwrap_or(u64::MAX),
            schema_version: text(&file["schema_version"]),
        }
    };
    let dead = header["dead"].as_array().ok_or("no dead names")?.iter().map(text).collect();
    Ok(Commit { version, set, files: files.iter().map(listed).collect(), dead })
}

fn header_and_rest(bytes: &[u8]) -> Result<(Value, &[u8]), String> {
    let end = bytes.iter().position(|&b| b == b'\n').ok_or("no line of JSON")?;
    let header: Value = serde_json::from_slice(&bytes[..end]).map_err(|e| e.to_string())?;
    Ok((header, &bytes[end + 1..]))
}

/// Where the records of each version lie, as a checkpoint or a segment says: first and last, or
/// nothing for a version without records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) base: u64,
    pub(crate) head: u64,
    pub(crate) ends: Vec<(String, String)>,
    pub(crate) segments: Vec<(u64, String, String)>,
}

/// All checkpoints and segments of a chain: the version in the name, and what they hold.
pub(crate) fn summaries(
    objects: &Objects,
    (stream, shard): &ChainName,
) -> Result<Vec<(u64, Summary)>, String> {
    let folder = format!("_weir/commits/{stream}/{shard}/");
    let mut found = Vec::new();
    for (key, bytes) in objects.range(folder.clone()..) {
        let Some(name) = key.strip_prefix(&folder) else { break };
        let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{key}: {e}"));
        let version = if let Some(text) = name.strip_suffix(".ckpt") {
            NEWEST - number(text)?
        } else if let Some(text) = name.strip_prefix("segments/").and_then(|n| n.strip_suffix(".bin")) {
            number(text)?
        } else {
            continue;
        };
        let (header, rest) = header_and_rest(bytes).map_err(|e| format!("{key}: {e}"))?;
        let ends = numbers(rest).map_err(|e| format!("{key}: {e}"))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let segments = header["segments"].as_array().into_iter().flatten();
        let segments =
            segments.map(|s| (s["version"].as_u64().unwrap_or(0), text(&s["min"]), text(&s["max"])));
        found.push((
            version,
            Summary {
                base: header["base"].as_u64().unwrap_or(u64::MAX),
                head: header["head"].as_u64().unwrap_or(u64::MAX),
                ends: ends.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
                segments: segments.collect(),
            },
        ));
    }
    Ok(found)
}

/// A set of numbers: kind 0, how many, length before compression, then zstd of six columns.
fn numbers(bytes: &[u8]) -> Result<Vec<String>, String> {
    const COLUMNS: [(usize, usize); 6] = [(0, 36), (36, 36), (72, 8), (80, 64), (144, 64), (208, 48)];
    let (&kind, mut rest) = bytes.split_first().ok_or("no set")?;
    if kind != 0 {
        return Err(format!("a set of kind {kind}"));
    }
    let (count, length) = (varint(&mut rest)? as usize, varint(&mut rest)? as usize);
    let raw = zstd::bulk::decompress(rest, length).map_err(|e| e.to_string())?;
    let mut raw = raw.as_slice();
    let mut wide = vec![[0u32; 8]; count];
    for (start, width) in COLUMNS {
        let mut value = 0u64;
        for number in &mut wide {
            let delta = varint(&mut raw)?;
            let signed = if delta % 2 == 0 { delta / 2 } else { !(delta / 2) };
            value = value.wrapping_add(signed);
            for bit in (0..width).filter(|bit| value >> bit & 1 == 1) {
                number[(start + bit) / 32] |= 1 << ((start + bit) % 32);
            }
        }
    }
    if raw.is_empty() { Ok(wide.into_iter().map(decimal).collect()) } else { Err("trailing bytes".into()) }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first().ok_or("cut short")?;
        *bytes = rest;
        value |= u64::from(byte & 127).checked_shl(shift).ok_or("a number is too long")?;
        shift += 7;
        if byte < 128 {
            return Ok(value);
        }
    }
}

/// Little-endian limbs in decimal.
fn decimal(mut limbs: [u32; 8]) -> String {
    let mut text = String::new();
    while limbs != [0; 8] {
        let mut rest = 0u64;
        for limb in limbs.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / 1_000_000_000) as u32;
            rest = value % 1_000_000_000;
        }
        text = if limbs == [0; 8] { format!("{rest}{text}") } else { format!("{rest:09}{text}") };
    }
    if text.is_empty() { "0".into() } else { text }
}

/// The first record that a data file's name says: sequence and sub-sequence number.
pub(crate) fn slot(key: &str, (stream, shard): &ChainName) -> Option<(String, u32)> {
    let hash = Sha256::digest(format!("{stream}/{shard}"));
    let name = key.rsplit('/').next()?.strip_suffix(".parquet")?;
    let position = name.strip_prefix(&format!("{:02x}-{stream}-{shard}-", hash[0]))?;
    let position = position.split('-').next()?;
    let (sequence, sub) = position.split_once('.').unwrap_or((position, "0"));
    Some((sequence.to_owned(), sub.parse().ok()?))
}

/// A row of a data file or of the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Data { n: Option<i64>, stream: String, shard: String, arrived_us: i64 },
    Dead { reason: String, path: String, raw: Vec<u8>, whole: bool, explained: bool },
}

fn rows(bytes: &Bytes, quarantine: bool) -> Result<Rows, String> {
    let file = SerializedFileReader::new(bytes.clone()).map_err(|e| e.to_string())?;
    let rows = file.get_row_iter(None).map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    for row in rows {
        let row = row.map_err(|e| e.to_string())?;
        let fields: HashMap<&str, &Field> = row.get_column_iter().map(|(k, v)| (k.as_str(), v)).collect();
        let text = |name: &str| match fields.get(name) {
            Some(Field::Str(text)) => text.clone(),
            _ => String::new(),
        };
        let long = |name: &str| match fields.get(name) {
            Some(Field::Long(v) | Field::TimestampMicros(v)) => Some(*v),
            Some(Field::Int(v)) => Some(i64::from(*v)),
            _ => None,
        };
        let (prefix, sub) = if quarantine { ("", "subsequence") } else { ("_", "_subsequence") };
        let position = (text(&format!("{prefix}sequence")), long(sub).unwrap_or(-1) as u32);
        let raw = match fields.get("raw") {
            Some(Field::Bytes(bytes)) => bytes.data().to_vec(),
            _ => Vec::new(),
        };
        let row = if quarantine {
            let explained = !text("expected").is_empty() && !text("found").is_empty();
            let whole = fields.get("raw_is_truncated") == Some(&&Field::Bool(false));
            Row::Dead { reason: text("reason"), path: text("path"), raw, whole, explained }
        } else {
            let arrived_us = long("_arrived_at").unwrap_or(-1);
            Row::Data { n: long("n"), stream: text("_stream"), shard: text("_shard"), arrived_us }
        };
        found.push((position, row));
    }
    Ok(found)
}
