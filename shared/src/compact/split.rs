//! Rows of a group of inputs → files whose row groups are of one bucket each, so that what a bucket
//! holds can be read from them by ranges.

use bytes::Bytes;

use super::copies::Losers;
use super::gather::{self, Gather};
use super::load::{Loaded, Units};
use super::order::Rules;
use super::page::PageDecoder;
use super::plan::{self, Plan};
use super::source::wrong;
use super::{Compaction, Input};
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::error::Result;
use crate::limits::ROW_GROUP_ROWS;
use crate::naming::compaction::Task;
use crate::schema::Compression;
use crate::write::{Encoder, FileFormat, FileWriter};

/// What a step that parts rows has done.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct SplitDone {
    pub(super) files: Vec<SplitFile>,
    pub(super) rows_read: u64,
    pub(super) rows_removed: u64,
}

/// A file of parted rows.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct SplitFile {
    name: String,
    rows: u64,
    bytes: u64,
    /// The bucket of each row group.
    pub(super) buckets: Vec<u32>,
}

impl SplitFile {
    pub(super) fn input(&self, work: &str) -> Input {
        Input { key: format!("{work}/{}", self.name), rows: self.rows, bytes: self.bytes }
    }
}

/// Files that are parted by one step, and where to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splitting<'a> {
    pub(super) lake: &'a LakeStore,
    pub(super) layout: &'a Layout,
    pub(super) inputs: &'a [Input],
    /// Folder for the parted rows.
    pub(super) work: &'a str,
    /// Names the files.
    pub(super) group: u32,
    /// Bytes of rows that are parted at once.
    pub(super) most: usize,
}

/// Part the rows of a group of inputs.
pub(super) async fn split(
    lake: &LakeStore,
    compaction: &Compaction<'_>,
    layout: &Layout,
    (plan, rules): (&Plan, &Rules),
    group: u32,
) -> Result<SplitDone> {
    let losers = Losers::of(lake, compaction.work, plan, &[group]).await?;
    let most = plan::bucket_bytes(compaction.limits) as usize;
    let splitting = Splitting { lake, layout, inputs: compaction.inputs, work: compaction.work, group, most };
    splitting.run(plan.group(group), |loaded| Ok(rules.part(loaded, &plan.splitters, &losers))).await
}

impl Splitting<'_> {
    /// Part the rows of some inputs: for each bucket those of a block that are of it.
    pub(super) async fn run(
        &self,
        inputs: std::ops::Range<u32>,
        part: impl Fn(&Loaded) -> Result<Vec<Vec<u32>>>,
    ) -> Result<SplitDone> {
        let Self { lake, layout, .. } = *self;
        let units = plan::whole(inputs);
        // Read once, soon: what packs fast is enough.
        let format = FileFormat::new(layout, Compression::Snappy, &[])?;
        let mut done = SplitDone::default();
        let mut decoder = PageDecoder::default();
        let mut encoder = Encoder::new();
        let mut loaded = Loaded::new(layout);
        let mut reader = Units::of(lake, self.inputs, layout, &units);
        loop {
            let next = reader.next().await?;
            let more = next.is_some();
            if let Some((source, number)) = next {
                loaded.load(lake, source, number, None, &mut decoder).await?;
            }
            if loaded.block.rows > 0 && (!more || loaded.block.memory() >= self.most) {
                let parted = part(&loaded)?;
                let name = Task::Split(self.group).split_file(done.files.len());
                let read = loaded.block.rows as u64;
                let (file, bytes) = write(&loaded, &parted, layout, &format, &mut encoder)?;
                loaded = Loaded::new(layout);
                let file = SplitFile { name, bytes: bytes.len() as u64, ..file };
                done.rows_read += read;
                done.rows_removed += read - file.rows;
                put(lake, &file.input(self.work), bytes).await?;
                done.files.push(file);
            }
            if !more {
                return Ok(done);
            }
        }
    }
}

fn write(
    loaded: &Loaded,
    parted: &[Vec<u32>],
    layout: &Layout,
    format: &std::sync::Arc<FileFormat>,
    encoder: &mut Encoder,
) -> Result<(SplitFile, Vec<u8>)> {
    let mut gather = Gather::of(&loaded.block);
    let mut columns = gather::buffers(layout);
    let mut writer = FileWriter::new(format);
    let mut buckets = Vec::new();
    for (rows, bucket) in parted.iter().zip(0..) {
        for group in rows.chunks(ROW_GROUP_ROWS) {
            gather.rows(&loaded.block, group, &mut columns);
            writer.write_row_group(&columns, encoder)?;
            buckets.push(bucket);
        }
    }
    let rows = writer.rows();
    Ok((SplitFile { name: String::new(), rows, bytes: 0, buckets }, writer.finish(&[])?))
}

async fn put(lake: &LakeStore, file: &Input, bytes: Vec<u8>) -> Result<()> {
    use crate::commit::store::Put;
    if lake.put_if_absent(&file.key, Bytes::from(bytes)).await? == Put::Exists {
        // Who else did the step made the same bytes, if it was the same program.
        let found = lake.size(&file.key).await?;
        if found != Some(file.bytes) {
            let problem = format!(
                "expected {} bytes, found {found:?}: another version of Weir began this compaction; let that one finish it, or delete its work folder",
                file.bytes
            );
            return Err(wrong(&file.key, problem));
        }
    }
    Ok(())
}
