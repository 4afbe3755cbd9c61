//! Row groups of inputs → a block, with the place of each row in the inputs.

use std::collections::VecDeque;
use std::ops::Range;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use super::block::Block;
use super::page::PageDecoder;
use super::source::{self, Part, Source};
use super::{FILES_AT_ONCE, Input};
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::error::Result;

/// A row group of an input, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Unit {
    #[serde(rename = "i")]
    pub(super) input: u32,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<u32>,
}

/// Where a row stands: the input's number in the upper half, the row's in it in the lower.
pub(super) type Position = u64;

/// Rows and their places.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) block: Block,
    /// First row of a run, and the place of that row; the rows behind it follow in the input.
    runs: Vec<(u32, Position)>,
}

impl Loaded {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { block: Block::new(layout), runs: Vec::new() }
    }

    /// Where a row stands in the inputs.
    pub(super) fn position(&self, row: u32) -> Position {
        let run = self.runs.partition_point(|run| run.0 <= row).saturating_sub(1);
        let (first, place) = self.runs.get(run).copied().unwrap_or_default();
        place + u64::from(row - first)
    }

    /// Rows of the block that stand one after another in an input, and the place of the first.
    pub(super) fn runs(&self) -> impl Iterator<Item = (Range<usize>, Position)> {
        let ends = self.runs.iter().skip(1).map(|run| run.0 as usize).chain([self.block.rows]);
        self.runs.iter().zip(ends).map(|(run, end)| (run.0 as usize..end, run.1))
    }

    /// Append a row group of an open file, which is input number `input`.
    pub(super) async fn load(
        &mut self,
        lake: &LakeStore,
        (source, input): (&Source, u32),
        group: usize,
        wanted: Option<&[usize]>,
        decoder: &mut PageDecoder,
    ) -> Result<()> {
        let before: usize = (0..group).map(|group| source.rows(group)).sum();
        self.runs.push((self.block.rows as u32, u64::from(input) << 32 | before as u64));
        let bytes = source.fetch(lake, group).await?;
        source.load(group, &bytes, wanted, decoder, &mut self.block)
    }
}

/// Row groups one after another, with the next files on their way.
pub(super) struct Units<'a> {
    opened: BoxStream<'a, Result<Source>>,
    files: VecDeque<&'a [Unit]>,
    open: Option<(Source, u32)>,
    groups: VecDeque<usize>,
}

impl<'a> Units<'a> {
    pub(super) fn of(
        lake: &'a LakeStore,
        inputs: &'a [Input],
        layout: &'a Layout,
        units: &'a [Unit],
    ) -> Self {
        let files: VecDeque<&[Unit]> = units.chunk_by(|a, b| a.input == b.input).collect();
        let open =
            |units: &&[Unit]| source::open(lake, &inputs[units[0].input as usize], layout, Part::Whole);
        let opened: Vec<_> = files.iter().map(open).collect();
        let opened = stream::iter(opened).buffered(FILES_AT_ONCE).boxed();
        Self { opened, files, open: None, groups: VecDeque::new() }
    }

    /// The next: a file, its number, and the row group's number in it.
    pub(super) async fn next(&mut self) -> Result<Option<((&Source, u32), usize)>> {
        while self.groups.is_empty() {
            let (Some(units), Some(source)) = (self.files.pop_front(), self.opened.try_next().await?) else {
                return Ok(None);
            };
            for unit in units {
                match unit.group {
                    Some(group) => self.groups.push_back(group as usize),
                    None => self.groups.extend(0..source.groups()),
                }
            }
            self.open = Some((source, units[0].input));
        }
        let group = self.groups.pop_front();
        Ok(self.open.as_ref().zip(group).map(|((source, input), group)| ((source, *input), group)))
    }
}
