//! A state to be made → its steps. Made once, pinned in the work folder.

use sha2::{Digest, Sha256};

use super::super::plan::{GROUP_BYTES, GROUP_FILES};
use super::super::source::wrong;
use super::super::work::WorkFolder;
use super::{CompactedFile, Fold, Input};
use crate::error::Result;
use crate::naming::compaction::{PLAN, Task};

/// Bytes of memory that a key of a part takes.
const KEY_BYTES: u64 = 192;
/// Bytes of files that a part aims at: its step reads them twice.
const PART_BYTES: u64 = 128 << 20;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct FoldPlan {
    format: u32,
    /// Of inputs and directory: the same work folder must not serve another state.
    digest: String,
    /// First inputs of the groups that are parted, and the number of inputs.
    groups: Vec<u32>,
    /// Parts of the new state: a power of two. A single one needs no parting.
    pub(super) parts: u32,
}

impl FoldPlan {
    /// The plan that stands, or a new one.
    pub(super) async fn of(folder: &WorkFolder<'_>, fold: &Fold<'_>) -> Result<Self> {
        let found: Option<Self> = folder.get(PLAN).await?;
        let plan = match found {
            Some(plan) => plan,
            None => {
                let _ = folder.put(PLAN, &Self::make(fold)).await?;
                let gone = || wrong(&format!("{}/{PLAN}", folder.path), "it was put and is gone".into());
                folder.get(PLAN).await?.ok_or_else(gone)?
            }
        };
        if plan.format != 1 || plan.digest != digest(fold) {
            let problem = "it is the plan of another state: give each its own work folder";
            return Err(wrong(&format!("{}/{PLAN}", folder.path), problem.into()));
        }
        Ok(plan)
    }

    /// Steps that have to be done before those of the next vector.
    pub(super) fn stages(&self) -> [Vec<Task>; 2] {
        let groups = if self.parts > 1 { self.groups.len() as u32 - 1 } else { 0 };
        [(0..groups).map(Task::Split).collect(), (0..self.parts).map(Task::Part).collect()]
    }

    /// Inputs of a group.
    pub(super) fn group(&self, group: u32) -> std::ops::Range<u32> {
        self.groups[group as usize]..self.groups[group as usize + 1]
    }

    fn make(fold: &Fold<'_>) -> Self {
        let before = fold.base.iter().flat_map(|base| &base.parts);
        let before = before.flat_map(|part| part.files.iter().chain(&part.removed));
        let before = before.fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
        let new = fold.inputs.iter().fold((0, 0), |(rows, bytes), i| (rows + i.rows, bytes + i.bytes));
        let (rows, bytes): (u64, u64) = (before.0 + new.0, before.1 + new.1);
        let of_memory = (rows * KEY_BYTES).div_ceil((fold.limits.memory / 2).max(1));
        let parts = of_memory.max(bytes.div_ceil(PART_BYTES)).max(1).next_power_of_two() as u32;
        Self { format: 1, digest: digest(fold), groups: groups(fold.inputs), parts }
    }
}

fn groups(inputs: &[Input]) -> Vec<u32> {
    let mut groups = vec![0];
    let (mut files, mut bytes) = (0, 0);
    for (input, at) in inputs.iter().zip(0..) {
        if files > 0 && (files >= GROUP_FILES || bytes + input.bytes > GROUP_BYTES) {
            groups.push(at);
            (files, bytes) = (0, 0);
        }
        (files, bytes) = (files + 1, bytes + input.bytes);
    }
    groups.push(inputs.len() as u32);
    groups
}

fn digest(fold: &Fold<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{}\n{}", fold.directory, fold.removed, fold.keys.join(",")));
    for input in fold.inputs {
        hash.update(format!("\n{} {} {}", input.key, input.rows, input.bytes));
    }
    let file = |file: &CompactedFile| format!("\n{} {} {}", file.name, file.rows, file.bytes);
    if let Some(base) = fold.base {
        hash.update(format!("\n{}\n{}", base.directory, base.removed));
        for part in &base.parts {
            hash.update("\n-");
            part.files.iter().chain(&part.removed).for_each(|f| hash.update(file(f)));
        }
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
