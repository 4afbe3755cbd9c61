//! A part of the state before and its share of the changes → the same part of the new state.

use super::super::gather::{self, Gather};
use super::super::load::{Loaded, Unit, Units};
use super::super::output::{Output, Target};
use super::super::page::PageDecoder;
use super::super::part::HELD_SHARE;
use super::super::source::wrong;
use super::super::split::SplitDone;
use super::last::{self, Last, Places, Share};
use super::{Fold, Input, StatePart};
use crate::columns::{ColumnSet, Layout};
use crate::commit::LakeStore;
use crate::error::Result;
use crate::limits::ROW_GROUP_ROWS;
use crate::naming::compaction::Task;
use crate::schema::{TableSchema, UnknownFields};

/// What the steps of a state share.
pub(super) struct Tables<'a> {
    pub(super) fold: &'a Fold<'a>,
    pub(super) layout: Layout,
    pub(super) places: Places,
    /// Keys, operation and provenance alone: what is remembered of a removed item.
    removal: TableSchema,
    removal_layout: Layout,
    removal_leaves: Vec<usize>,
}

/// What a step that makes a part has done.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct PartDone {
    pub(super) part: StatePart,
    pub(super) rows_read: u64,
}

impl<'a> Tables<'a> {
    pub(super) fn of(fold: &'a Fold<'a>) -> Result<Self> {
        let layout = Layout::of(fold.schema);
        let places = Places::of(fold.schema, fold.keys, &layout)?;
        let mut removal = fold.schema.clone();
        let kept = |name: &str, from: &[String]| {
            fold.keys.iter().any(|key| key == name)
                || matches!(from, [field] if field == "_op" || field == "_changed_at")
        };
        let columns = fold.schema.columns.iter().zip(&fold.schema.in_file);
        let columns = columns.filter(|(column, in_file)| **in_file && kept(&column.name, &column.from));
        removal.columns = columns.map(|(column, _)| column.clone()).collect();
        removal.in_file = vec![true; removal.columns.len()];
        (removal.unknown_fields, removal.bloom) = (UnknownFields::Ignore, Vec::new());
        let removal_layout = Layout::of(&removal);
        let of = |name: &str| layout.fields.iter().find(|field| field.name == name).map(|f| f.leaves.clone());
        let removal_leaves =
            removal_layout.fields.iter().filter_map(|field| of(&field.name)).flatten().collect();
        Ok(Self { fold, layout, places, removal, removal_layout, removal_leaves })
    }

    /// The file without rows of a state without items, so that the directory is there for readers.
    pub(super) async fn without_rows(&self, lake: &LakeStore) -> Result<StatePart> {
        let output = Output::new(lake, self.target(Task::Part(0)))?;
        Ok(StatePart { files: output.finish_without_rows().await?, removed: Vec::new() })
    }

    fn target(&self, task: Task) -> Target<'_> {
        Target {
            schema: self.fold.schema,
            layout: &self.layout,
            directory: self.fold.directory,
            task,
            file_bytes: self.fold.schema.compact_bytes.min(self.fold.limits.scratch / 4).max(1),
            scratch: Some((self.fold.scratch, self.fold.limits.memory / HELD_SHARE)),
        }
    }

    fn outputs<'s>(&'s self, lake: &'s LakeStore, task: Task) -> Result<[Output<'s>; 2]> {
        let there = self.target(task);
        let removed = Target {
            schema: &self.removal,
            layout: &self.removal_layout,
            directory: self.fold.removed,
            ..there
        };
        Ok([Output::new(lake, there)?, Output::new(lake, removed)?])
    }
}

/// Make part `part` of `of`.
pub(super) async fn part(
    lake: &LakeStore,
    tables: &Tables<'_>,
    (part, of): (u32, u32),
    splits: &[SplitDone],
) -> Result<PartDone> {
    let (inputs, units) = sources(tables.fold, (part, of), splits);
    let wanted = tables.places.leaves();
    let mut decoder = PageDecoder::default();
    let (mut last, mut rows_read) = (Last::default(), 0);
    let mut reader = Units::of(lake, &inputs, &tables.layout, &units);
    while let Some((source, group)) = reader.next().await? {
        let mut loaded = Loaded::new(&tables.layout);
        loaded.load(lake, source, group, Some(&wanted), &mut decoder).await?;
        let looked = last.look(&loaded, &tables.places, Share { part, of });
        rows_read += looked.map_err(|problem| wrong(&inputs[source.1 as usize].key, problem))?;
    }
    let winners = last.winners();
    let mut copy = Copy {
        tables,
        outputs: tables.outputs(lake, Task::Part(part))?,
        columns: [gather::buffers(&tables.layout), gather::buffers(&tables.removal_layout)],
    };
    let mut loaded = Loaded::new(&tables.layout);
    let mut reader = Units::of(lake, &inputs, &tables.layout, &units);
    while let Some((source, group)) = reader.next().await? {
        let before: u64 = (0..group).map(|group| source.0.rows(group) as u64).sum();
        let rows = source.0.rows(group) as u64;
        if last::within(&winners, u64::from(source.1) << 32 | before, rows).is_empty() {
            continue;
        }
        loaded.load(lake, source, group, None, &mut decoder).await?;
        if loaded.block.rows >= ROW_GROUP_ROWS {
            copy.rows(&loaded, &winners).await?;
            loaded = Loaded::new(&tables.layout);
        }
    }
    copy.rows(&loaded, &winners).await?;
    let [files, removed] = copy.outputs;
    let part = StatePart { files: files.finish().await?, removed: removed.finish().await? };
    Ok(PartDone { part, rows_read })
}

/// What is read for a part: its share of the state before, which may be several parts of it or lie in
/// a larger one, and its share of the changes.
fn sources(fold: &Fold<'_>, (part, of): (u32, u32), splits: &[SplitDone]) -> (Vec<Input>, Vec<Unit>) {
    let mut inputs = Vec::new();
    if let Some(base) = fold.base {
        let (part, of, parts) = (u64::from(part), u64::from(of), base.parts.len() as u64);
        let from = (part * parts / of) as usize;
        let to = ((part + 1) * parts).div_ceil(of) as usize;
        for part in &base.parts[from..to] {
            for (folder, files) in [(&base.directory, &part.files), (&base.removed, &part.removed)] {
                inputs.extend(files.iter().map(|file| Input {
                    key: format!("{folder}/{}", file.name),
                    rows: file.rows,
                    bytes: file.bytes,
                }));
            }
        }
    }
    if of == 1 {
        inputs.extend_from_slice(fold.inputs);
    }
    let mut units: Vec<Unit> = inputs.iter().zip(0..).map(|(_, input)| Unit { input, group: None }).collect();
    for file in splits.iter().flat_map(|split| &split.files) {
        let input = inputs.len() as u32;
        let groups = file.buckets.iter().zip(0..).filter(|(bucket, _)| **bucket == part);
        units.extend(groups.map(|(_, group)| Unit { input, group: Some(group) }));
        inputs.push(file.input(fold.work));
    }
    (inputs, units)
}

/// Rows of the winners on their way to the files.
struct Copy<'a> {
    tables: &'a Tables<'a>,
    /// Of items that are there, and of those that were removed.
    outputs: [Output<'a>; 2],
    columns: [ColumnSet; 2],
}

impl Copy<'_> {
    async fn rows(&mut self, loaded: &Loaded, winners: &[(u64, bool)]) -> Result<()> {
        let mut rows = [Vec::new(), Vec::new()];
        last::rows(loaded, winners).for_each(|(row, removed)| rows[usize::from(removed)].push(row));
        let mut gather = Gather::of(&loaded.block);
        for rows in rows[0].chunks(ROW_GROUP_ROWS) {
            gather.rows(&loaded.block, rows, &mut self.columns[0]);
            self.outputs[0].write(&self.columns[0]).await?;
        }
        for rows in rows[1].chunks(ROW_GROUP_ROWS) {
            gather.leaves(&loaded.block, &self.tables.removal_leaves, rows, &mut self.columns[1]);
            self.outputs[1].write(&self.columns[1]).await?;
        }
        Ok(())
    }
}
