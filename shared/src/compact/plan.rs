//! Inputs and limits → steps: which rows go to which file. Made once, pinned in the work folder.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::load::{self, Unit};
use super::order::Rules;
use super::sample::{self, Bounds, Splitter};
use super::source::{self, Part, wrong};
use super::{Compaction, FILES_AT_ONCE, Input, Limits};
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::commit::store::Put;
use crate::error::{Error, Result};
use crate::naming::compaction::{PLAN, Task};
use crate::schema::TableSchema;

/// Compressed bytes of inputs that one step reads to part or to hash them.
pub(super) const GROUP_BYTES: u64 = 128 << 20;
/// Files of such a step: each costs a request.
pub(super) const GROUP_FILES: usize = 4_096;
/// Bytes that decoded rows take for each byte of the inputs, at most, where nobody has looked.
const EXPANSION: u64 = 12;
/// Share of the memory that rows may take which are sorted at once.
const BUCKET_SHARE: u64 = 6;
/// Bytes of the coders of a step, however few its rows are.
const ONE_STEP_BYTES: u64 = 2 << 20;
/// Bytes of a row in a step that looks for copies.
const KEY_BYTES: u64 = 32;
/// How much more may be read than there is, if that saves parting the rows first.
const DIRECT_PERCENT: u64 = 150;

/// All of it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Plan {
    format: u32,
    /// Of inputs and directory: the same work folder must not serve another compaction.
    digest: String,
    pub(super) sort: Vec<String>,
    pub(super) dedupe_key: Vec<String>,
    /// First inputs of the groups that are hashed and parted, and the number of inputs.
    pub(super) groups: Vec<u32>,
    /// Shares of all hashes; 0 if copies are found in memory, or none are looked for.
    pub(super) shares: u32,
    /// Whether rows are parted before they are sorted.
    pub(super) split: bool,
    /// Where buckets begin, but the first.
    pub(super) splitters: Vec<Splitter>,
    /// What each bucket reads, unless rows are parted.
    pub(super) units: Vec<Vec<Unit>>,
    /// First buckets of the parts, and the number of buckets.
    pub(super) parts: Vec<u32>,
}

impl Plan {
    /// The plan that stands, or a new one.
    pub(super) async fn of(lake: &LakeStore, compaction: &Compaction<'_>, layout: &Layout) -> Result<Self> {
        let key = format!("{}/{PLAN}", compaction.work);
        let bytes = match lake.get(&key).await? {
            Some(bytes) => bytes,
            None => {
                let plan = Self::make(lake, compaction, layout).await?;
                if plan.pin(lake, compaction).await? == Put::Created {
                    return Ok(plan);
                }
                let gone = || wrong(&key, "it was put and is gone".into());
                lake.get(&key).await?.ok_or_else(gone)?
            }
        };
        let plan: Self = serde_json::from_slice(&bytes).map_err(|e| wrong(&key, e.to_string()))?;
        if plan.format != 1 || plan.digest != digest(compaction) {
            let problem = "it is the plan of another compaction: give each its own work folder";
            return Err(wrong(&key, problem.into()));
        }
        Ok(plan)
    }

    /// Put it as the plan of all who work on the compaction.
    pub(super) async fn pin(&self, lake: &LakeStore, compaction: &Compaction<'_>) -> Result<Put> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::Internal(e.to_string()))?;
        lake.put_if_absent(&format!("{}/{PLAN}", compaction.work), Bytes::from(bytes)).await
    }

    /// Steps that have to be done before those of the next vector.
    pub(super) fn stages(&self) -> [Vec<Task>; 4] {
        let groups = 0..self.groups.len() as u32 - 1;
        let keys = if self.shares > 0 { groups.clone().map(Task::Keys).collect() } else { Vec::new() };
        let split = if self.split { groups.map(Task::Split).collect() } else { Vec::new() };
        let parts = (0..self.parts.len() as u32 - 1).map(Task::Part).collect();
        [keys, (0..self.shares).map(Task::Losers).collect(), split, parts]
    }

    /// Inputs of a group.
    pub(super) fn group(&self, group: u32) -> std::ops::Range<u32> {
        self.groups[group as usize]..self.groups[group as usize + 1]
    }

    /// The group of an input.
    pub(super) fn group_of(&self, input: u32) -> u32 {
        self.groups.partition_point(|first| *first <= input) as u32 - 1
    }

    /// The plan of a compaction that is one step, which needs no look at its inputs.
    pub(super) fn of_one_step(compaction: &Compaction<'_>) -> Option<Self> {
        let (inputs, schema) = (compaction.inputs, compaction.schema);
        if decoded_at_most(inputs) > bucket_bytes(compaction.limits) {
            return None;
        }
        let units = inputs.iter().zip(0..).map(|(_, input)| Unit { input, group: None });
        let (groups, units) = (vec![0, inputs.len() as u32], vec![units.collect()]);
        Some(Self { groups, units, ..Self::empty(compaction, schema) })
    }

    fn empty(compaction: &Compaction<'_>, schema: &TableSchema) -> Self {
        Self {
            format: 1,
            digest: digest(compaction),
            sort: schema.sort.clone(),
            dedupe_key: schema.dedupe_key.clone(),
            groups: Vec::new(),
            shares: 0,
            split: false,
            splitters: Vec::new(),
            units: Vec::new(),
            parts: vec![0, 1],
        }
    }

    async fn make(lake: &LakeStore, compaction: &Compaction<'_>, layout: &Layout) -> Result<Self> {
        if let Some(plan) = Self::of_one_step(compaction) {
            return Ok(plan);
        }
        let mut plan = Self::empty(compaction, compaction.schema);
        let rules = Rules::of(layout, &plan.sort, &plan.dedupe_key)?;
        let units = survey(lake, compaction, layout, &rules).await?;
        plan.cut(compaction, &units);
        let buckets = *plan.parts.last().unwrap_or(&1) as usize;
        if !plan.dedupe_key.is_empty() && buckets > 1 {
            let rows: u64 = compaction.inputs.iter().map(|input| input.rows).sum();
            plan.shares = (rows * KEY_BYTES).div_ceil((compaction.limits.memory / 8).max(1)) as u32;
        }
        if plan.sort.is_empty() || buckets == 1 {
            plan.units = in_order(&units, buckets);
            return Ok(plan);
        }
        plan.splitters = sample::splitters(lake, compaction, layout, &rules, &units, buckets).await?;
        plan.choose(&units, bucket_bytes(compaction.limits));
        Ok(plan)
    }

    /// Groups and parts from sizes.
    fn cut(&mut self, compaction: &Compaction<'_>, units: &[Surveyed]) {
        // Held twice while the file of keys is put together.
        let rows_at_once = compaction.limits.memory / 8 / KEY_BYTES;
        let (mut bytes, mut files, mut rows) = (0, 0, 0);
        for (input, number) in compaction.inputs.iter().zip(0..) {
            let full = bytes + input.bytes > GROUP_BYTES || rows + input.rows > rows_at_once;
            if number == 0 || full || files >= GROUP_FILES {
                self.groups.push(number);
                (bytes, files, rows) = (0, 0, 0);
            }
            (bytes, files, rows) = (bytes + input.bytes, files + 1, rows + input.rows);
        }
        self.groups.push(compaction.inputs.len() as u32);
        let total: u64 = compaction.inputs.iter().map(|input| input.bytes).sum();
        let decoded: u64 = units.iter().map(|unit| unit.decoded).sum();
        let parts = total.div_ceil(file_bytes(compaction)).max(1);
        let buckets = decoded.div_ceil(bucket_bytes(compaction.limits).max(1)).max(1).div_ceil(parts);
        self.parts = (0..=parts).map(|part| (part * buckets) as u32).collect();
    }

    /// Read each bucket's row groups straight from the inputs, unless that reads too much.
    fn choose(&mut self, units: &[Surveyed], bucket: u64) {
        let buckets = self.splitters.len() + 1;
        let mut direct: Vec<Vec<Unit>> = Vec::with_capacity(buckets);
        let (mut read, mut most) = (0, 0);
        for at in 0..buckets {
            let from = at.checked_sub(1).map(|before| &self.splitters[before]);
            let to = self.splitters.get(at);
            let inside: Vec<_> = units.iter().filter(|unit| unit.bounds.meet(from, to)).collect();
            let decoded: u64 = inside.iter().map(|unit| unit.decoded).sum();
            (read, most) = (read + decoded, most.max(decoded));
            direct.push(inside.iter().map(|unit| unit.unit).collect());
        }
        let all: u64 = units.iter().map(|unit| unit.decoded).sum();
        if read * 100 <= all * DIRECT_PERCENT && most * 100 <= bucket * DIRECT_PERCENT {
            self.units = direct;
        } else {
            self.split = true;
        }
    }
}

/// A row group of an input, as its footer has it.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) unit: Unit,
    pub(super) rows: u64,
    /// Bytes in memory, about.
    pub(super) decoded: u64,
    pub(super) bounds: Bounds,
}

/// Look at all footers.
async fn survey(
    lake: &LakeStore,
    compaction: &Compaction<'_>,
    layout: &Layout,
    rules: &Rules,
) -> Result<Vec<Surveyed>> {
    let open = |input| source::open(lake, input, layout, Part::Footer);
    let opened: Vec<_> = compaction.inputs.iter().map(open).collect();
    let mut opened = stream::iter(opened).buffered(FILES_AT_ONCE);
    let (mut units, mut input) = (Vec::new(), 0);
    while let Some(source) = opened.try_next().await? {
        for group in 0..source.groups() {
            units.push(Surveyed {
                unit: Unit { input, group: Some(group as u32) },
                rows: source.rows(group) as u64,
                decoded: source.decoded_bytes(group),
                bounds: Bounds::of(&source, group, rules.sort.first().copied()),
            });
        }
        input += 1;
    }
    Ok(units)
}

/// Buckets of about the same size that keep the order of the inputs.
fn in_order(units: &[Surveyed], buckets: usize) -> Vec<Vec<Unit>> {
    let all: u64 = units.iter().map(|unit| unit.decoded).sum::<u64>().max(1);
    let mut out: Vec<Vec<Unit>> = (0..buckets).map(|_| Vec::new()).collect();
    let mut before = 0;
    for unit in units {
        let at = (u128::from(before + unit.decoded / 2) * buckets as u128 / u128::from(all)) as usize;
        out[at.min(buckets - 1)].push(unit.unit);
        before += unit.decoded;
    }
    out
}

/// Bytes of rows that are sorted at once: their buffers grow by doubling, and beside them stand sort
/// keys, a row group on its way out, and files on their way in.
pub(super) fn bucket_bytes(limits: Limits) -> u64 {
    limits.memory / BUCKET_SHARE
}

/// Bytes of memory that a compaction of these inputs may take, about.
pub(super) fn memory_of(inputs: &[Input], limits: Limits) -> u64 {
    let rows = decoded_at_most(inputs);
    if rows > bucket_bytes(limits) {
        return limits.memory;
    }
    (ONE_STEP_BYTES + rows * BUCKET_SHARE).min(limits.memory)
}

fn decoded_at_most(inputs: &[Input]) -> u64 {
    inputs.iter().map(|input| input.bytes).sum::<u64>().saturating_mul(EXPANSION)
}

/// Bytes of a file that a part aims at: within the scratch folder.
pub(super) fn file_bytes(compaction: &Compaction<'_>) -> u64 {
    compaction.schema.compact_bytes.min(compaction.limits.scratch * 3 / 4).max(1)
}

fn digest(compaction: &Compaction<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(compaction.directory);
    for input in compaction.inputs {
        hash.update(format!("\n{} {} {}", input.key, input.rows, input.bytes));
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// All units of a group of inputs.
pub(super) fn whole(inputs: std::ops::Range<u32>) -> Vec<Unit> {
    inputs.map(|input| Unit { input, group: None }).collect::<Vec<load::Unit>>()
}
