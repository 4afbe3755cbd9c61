//! Buckets → the files of one part, in order.

use super::copies::Losers;
use super::gather::{self, Gather};
use super::load::{Loaded, Unit, Units};
use super::order::{Copies, Rules};
use super::output::{Output, Target};
use super::page::PageDecoder;
use super::plan::{self, Plan};
use super::sample::Splitter;
use super::split::SplitDone;
use super::{CompactedFile, Compaction, Input};
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::error::Result;
use crate::limits::ROW_GROUP_ROWS;
use crate::naming::compaction::Task;

/// Share of the memory that a file may take before it goes to the scratch folder.
pub(super) const HELD_SHARE: u64 = 16;

/// What a step that writes files for readers has done.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct PartDone {
    pub(super) files: Vec<CompactedFile>,
    pub(super) rows_read: u64,
    pub(super) rows_removed: u64,
}

/// Write the files of a part.
pub(super) async fn part(
    lake: &LakeStore,
    compaction: &Compaction<'_>,
    layout: &Layout,
    (plan, rules): (&Plan, &Rules),
    (part, splits): (u32, &[SplitDone]),
) -> Result<PartDone> {
    let target = Target {
        schema: compaction.schema,
        layout,
        directory: compaction.directory,
        task: Task::Part(part),
        file_bytes: plan::file_bytes(compaction),
        scratch: Some((compaction.scratch, compaction.limits.memory / HELD_SHARE)),
    };
    let mut output = Output::new(lake, target)?;
    let (mut rows_read, mut rows_removed) = (0, 0);
    let mut decoder = PageDecoder::default();
    let mut columns = gather::buffers(layout);
    for bucket in plan.parts[part as usize]..plan.parts[part as usize + 1] {
        let (inputs, units) = sources(compaction, plan, splits, bucket);
        let mut loaded = Loaded::new(layout);
        let mut reader = Units::of(lake, &inputs, layout, &units);
        while let Some((source, number)) = reader.next().await? {
            loaded.load(lake, source, number, None, &mut decoder).await?;
        }
        drop(reader);
        let losers = match plan.split {
            true => Losers::default(),
            false => Losers::of(lake, compaction.work, plan, &groups(plan, &units)).await?,
        };
        let copies = if plan.shares == 0 && !plan.split { Copies::Here } else { Copies::Known(&losers) };
        let ordered = rules.bucket(&loaded, range(plan, bucket), copies);
        rows_read += ordered.rows.len() as u64 + ordered.removed;
        rows_removed += ordered.removed;
        let mut gather = Gather::of(&loaded.block);
        for group in ordered.rows.chunks(ROW_GROUP_ROWS) {
            gather.rows(&loaded.block, group, &mut columns);
            output.write(&columns).await?;
        }
    }
    Ok(PartDone { files: output.finish().await?, rows_read, rows_removed })
}

/// The rows of a bucket, where what is read for it may hold others.
fn range(plan: &Plan, bucket: u32) -> (Option<&Splitter>, Option<&Splitter>) {
    if plan.split {
        return (None, None);
    }
    let bucket = bucket as usize;
    (bucket.checked_sub(1).and_then(|before| plan.splitters.get(before)), plan.splitters.get(bucket))
}

/// What is read for a bucket: row groups of inputs, or of files of parted rows.
fn sources(
    compaction: &Compaction<'_>,
    plan: &Plan,
    splits: &[SplitDone],
    bucket: u32,
) -> (Vec<Input>, Vec<Unit>) {
    if !plan.split {
        return (compaction.inputs.to_vec(), plan.units.get(bucket as usize).cloned().unwrap_or_default());
    }
    let files = || splits.iter().flat_map(|split| &split.files);
    let inputs = files().map(|file| file.input(compaction.work)).collect();
    let unit = |(input, group)| Unit { input, group: Some(group) };
    let units = files().zip(0..).flat_map(|(file, input)| {
        let of_bucket = file.buckets.iter().zip(0..).filter(move |(of, _)| **of == bucket);
        of_bucket.map(move |(_, group)| unit((input, group)))
    });
    (inputs, units.collect())
}

fn groups(plan: &Plan, units: &[Unit]) -> Vec<u32> {
    let mut groups: Vec<u32> = units.iter().map(|unit| plan.group_of(unit.input)).collect();
    groups.dedup();
    groups
}
