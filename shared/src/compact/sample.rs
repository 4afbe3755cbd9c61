//! Where the rows of a partition are to be parted: from the footers' bounds, and from keys of some rows.

use parquet::file::statistics::Statistics;

use super::Compaction;
use super::key::{self, Bound, Keys};
use super::load::{Loaded, Position, Unit, Units};
use super::order::Rules;
use super::page::PageDecoder;
use super::plan::Surveyed;
use super::source::Source;
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::error::Result;

/// Row groups that are looked into.
const SAMPLED_GROUPS: u64 = 256;
/// Rows of them that are taken.
const SAMPLED_ROWS: u64 = 1 << 17;

/// The first row of a bucket: its key, and its place among rows of the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Splitter {
    #[serde(rename = "k", with = "hex")]
    pub(super) key: Vec<u8>,
    #[serde(rename = "p")]
    pub(super) position: Position,
}

impl Splitter {
    /// What rows are compared with.
    pub(super) fn bound(&self) -> Bound<'_> {
        Bound::of(&self.key, self.position)
    }
}

/// Between which keys the rows of a row group are; none where the footer does not say.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    from: Vec<u8>,
    to: Option<Vec<u8>>,
}

impl Bounds {
    /// By the first column to sort by.
    pub(super) fn of(source: &Source, group: usize, leaf: Option<usize>) -> Self {
        let known = leaf.and_then(|leaf| source.statistics(group, leaf));
        known.and_then(bounds).unwrap_or_default()
    }

    /// Whether a row group may have rows of a bucket.
    pub(super) fn meet(&self, from: Option<&Splitter>, to: Option<&Splitter>) -> bool {
        let ends_before = |from: &Splitter| self.to.as_ref().is_some_and(|end| *end < from.key);
        let begins_after = |to: &Splitter| self.from > to.key;
        !from.is_some_and(ends_before) && !to.is_some_and(begins_after)
    }
}

fn bounds(known: &Statistics) -> Option<Bounds> {
    let (min, max) = (known.min_bytes_opt()?, known.max_bytes_opt()?);
    let encode = |bytes: &[u8]| match known {
        Statistics::Boolean(_) => Some(vec![0, *bytes.first()?]),
        Statistics::Int32(_) => Some(key::int32(i32::from_le_bytes(*bytes.first_chunk()?))),
        Statistics::Int64(_) => Some(key::int64(i64::from_le_bytes(*bytes.first_chunk()?))),
        Statistics::ByteArray(_) => Some(key::prefix_of_text(bytes)),
        // Footers leave NaN out, which is the greatest here; and decimals this wide are rare.
        _ => None,
    };
    let (from, mut to) = (encode(min)?, encode(max)?);
    // Whatever follows in a key is less.
    to.push(255);
    let nulls = known.null_count_opt().is_none_or(|nulls| nulls > 0);
    Some(Bounds { from, to: (!nulls).then_some(to) })
}

/// The first rows of all buckets but the first.
pub(super) async fn splitters(
    lake: &LakeStore,
    compaction: &Compaction<'_>,
    layout: &Layout,
    rules: &Rules,
    units: &[Surveyed],
    buckets: usize,
) -> Result<Vec<Splitter>> {
    let chosen = choose(units);
    let rows: u64 = chosen.iter().map(|unit| unit.rows).sum();
    let step = rows.div_ceil(SAMPLED_ROWS).max(1) as usize;
    let chosen: Vec<Unit> = chosen.iter().map(|unit| unit.unit).collect();
    let mut found = Vec::new();
    let mut decoder = PageDecoder::default();
    let mut reader = Units::of(lake, compaction.inputs, layout, &chosen);
    while let Some((source, group)) = reader.next().await? {
        let mut loaded = Loaded::new(layout);
        loaded.load(lake, source, group, Some(&rules.sort), &mut decoder).await?;
        let keys = Keys::of(&loaded.block, &rules.sort);
        let mut scratch = [0; 16];
        for row in (step / 2..loaded.block.rows).step_by(step) {
            let key = keys.get(row as u32, &mut scratch).to_vec();
            found.push(Splitter { key, position: loaded.position(row as u32) });
        }
    }
    found.sort_unstable();
    let at = |bucket: usize| found[bucket * found.len() / buckets].clone();
    Ok(if found.is_empty() { Vec::new() } else { (1..buckets).map(at).collect() })
}

/// Row groups at even distances of rows.
fn choose(units: &[Surveyed]) -> Vec<&Surveyed> {
    let all: u64 = units.iter().map(|unit| unit.rows).sum();
    let step = all.div_ceil(SAMPLED_GROUPS).max(1);
    let mut before = 0;
    let passes = |unit: &&Surveyed| {
        let from = before;
        before += unit.rows;
        // Whether a multiple of the step is among its rows.
        before.div_ceil(step) > from.div_ceil(step)
    };
    units.iter().filter(passes).collect()
}

/// Bytes as text in the plan.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let byte = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
        bytes.ok_or_else(|| serde::de::Error::custom("no pairs of hex digits"))
    }
}
