//! Changes of items → the latest image of each, items that were removed gone.
//!
//! ```text
//! state before ─┐                                        ┌─► rows of items that are there: for readers
//! removals      ├─► the last change of each key, by      │
//! new changes ──┘   (shard, sequence, sub-sequence) ─────┴─► rows of items that were removed: for the
//!                                                            next time
//! ```
//!
//! The last change wins whatever the order of the inputs, and taking the same input twice changes
//! nothing. So a state stays true when changes come late, when a partition is closed again with all
//! of its rows, and when a run that was killed begins again. For that a removal has to be remembered:
//! an older change of the item may still come. Removals are files of their own, which no reader sees.
//!
//! Changes of one item are ordered by shard, then by number. An item lives in one shard and then in
//! its descendants, and the id of a DynamoDB shard begins with the time it was made.
//!
//! Memory is bounded: keys are taken in shares of their hash, the inputs read once to find the last
//! change of each key of a share, and once more to copy those rows.

use std::collections::HashMap;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::block::{Block, BlockLeaf, Data};
use super::gather::{self, Gather};
use super::key::Keys;
use super::output::{Output, Target};
use super::page::PageDecoder;
use super::source::{self, Part, Source};
use super::{CompactedFile, FILES_AT_ONCE, Input};
use crate::columns::{ColumnSet, Layout};
use crate::commit::LakeStore;
use crate::error::{Error, Result};
use crate::limits::ROW_GROUP_ROWS;
use crate::naming::compaction::Task;
use crate::record::SequenceNumber;
use crate::schema::TableSchema;

/// Bytes of memory that a key of a share takes.
const KEY_BYTES: u64 = 192;

/// A state to be made. The same inputs make the same files.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    /// The table of the state: columns of the table of changes, with provenance.
    pub schema: &'a TableSchema,
    /// Columns that name an item.
    pub keys: &'a [String],
    /// The state before, its removals, and the files of changes since; in any order.
    pub inputs: &'a [Input],
    /// Folder below the lake for the rows that readers will see.
    pub directory: &'a str,
    /// Folder below the lake for the removals.
    pub removed: &'a str,
    /// Bytes of memory for keys, about; a row group comes on top.
    pub memory: u64,
}

/// The files of a state.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CurrentState {
    /// For readers: one row an item.
    pub files: Vec<CompactedFile>,
    /// For the next state: the last row of each item that was removed.
    pub removed: Vec<CompactedFile>,
    /// Rows of the inputs.
    pub rows_read: u64,
}

/// Make a state.
///
/// # Errors
/// A table without what tells the order of changes, a file that is missing or is not what its commit
/// says, a bad moment of the lake.
pub async fn current(lake: &LakeStore, what: &Current<'_>) -> Result<CurrentState> {
    let layout = Layout::of(what.schema);
    let places = Places::of(what, &layout)?;
    let rows_read: u64 = what.inputs.iter().map(|input| input.rows).sum();
    let shares = (rows_read * KEY_BYTES).div_ceil(what.memory.max(1)).max(1);
    let target = |directory| Target {
        schema: what.schema,
        layout: &layout,
        directory,
        task: Task::Part(0),
        file_bytes: what.schema.compact_bytes,
        scratch: None,
    };
    let mut copy = Copy {
        outputs: [Output::new(lake, target(what.directory))?, Output::new(lake, target(what.removed))?],
        block: Block::new(&layout),
        rows: [Vec::new(), Vec::new()],
        columns: gather::buffers(&layout),
    };
    for share in 0..shares {
        let winners = last_changes(lake, what, &layout, &places, (share, shares)).await?;
        let mut decoder = PageDecoder::default();
        let (mut opened, mut at) = (sources(lake, what.inputs, &layout), 0);
        while let Some(source) = opened.try_next().await? {
            for group in 0..source.groups() {
                let rows = source.rows(group) as u64;
                if copy.choose(&winners, at, rows) {
                    let bytes = source.fetch(lake, group).await?;
                    source.load(group, &bytes, None, &mut decoder, &mut copy.block)?;
                }
                at += rows;
                if copy.block.rows >= ROW_GROUP_ROWS {
                    copy.flush(&layout).await?;
                }
            }
        }
        copy.flush(&layout).await?;
    }
    let [there, removed] = copy.outputs;
    Ok(CurrentState { files: there.finish().await?, removed: removed.finish().await?, rows_read })
}

/// Rows of the winners on their way to the files.
struct Copy<'a> {
    /// Of items that are there, and of those that were removed.
    outputs: [Output<'a>; 2],
    block: Block,
    /// Rows of the block, for each output.
    rows: [Vec<u32>; 2],
    columns: ColumnSet,
}

impl Copy<'_> {
    /// Note which of the rows from `at` on are winners; false if none is.
    fn choose(&mut self, winners: &Winners, at: u64, rows: u64) -> bool {
        let first = winners.0.partition_point(|winner| winner.0 < at);
        let wanted = winners.0[first..].iter().take_while(|winner| winner.0 < at + rows);
        let before = self.block.rows as u64;
        let mut any = false;
        for &(place, removed) in wanted {
            self.rows[usize::from(removed)].push((before + place - at) as u32);
            any = true;
        }
        any
    }

    async fn flush(&mut self, layout: &Layout) -> Result<()> {
        let block = std::mem::replace(&mut self.block, Block::new(layout));
        let mut gather = Gather::of(&block);
        for (rows, output) in self.rows.iter_mut().zip(&mut self.outputs) {
            for rows in rows.chunks(ROW_GROUP_ROWS) {
                gather.rows(&block, rows, &mut self.columns);
                output.write(&self.columns).await?;
            }
            rows.clear();
        }
        Ok(())
    }
}

/// Places of the last changes in the rows of all inputs, ascending, and whether each is a removal.
struct Winners(Vec<(u64, bool)>);

async fn last_changes(
    lake: &LakeStore,
    what: &Current<'_>,
    layout: &Layout,
    places: &Places,
    share: (u64, u64),
) -> Result<Winners> {
    let mut last = Last::default();
    let mut decoder = PageDecoder::default();
    let (mut opened, mut at) = (sources(lake, what.inputs, layout), 0);
    while let Some(source) = opened.try_next().await? {
        for group in 0..source.groups() {
            let mut block = Block::new(layout);
            let bytes = source.fetch(lake, group).await?;
            source.load(group, &bytes, None, &mut decoder, &mut block)?;
            last.look(&block, places, at, share).map_err(|problem| Error::Format {
                object: what.directory.to_owned(),
                problem,
                retryable: false,
            })?;
            at += block.rows as u64;
        }
    }
    let mut winners: Vec<_> = last.by_key.into_values().map(|change| (change.at, change.removed)).collect();
    winners.sort_unstable();
    Ok(Winners(winners))
}

fn sources<'a>(
    lake: &'a LakeStore,
    inputs: &'a [Input],
    layout: &'a Layout,
) -> impl Stream<Item = Result<Source>> + Unpin + use<'a> {
    let opened: Vec<_> = inputs.iter().map(|input| source::open(lake, input, layout, Part::Whole)).collect();
    stream::iter(opened).buffered(FILES_AT_ONCE)
}

/// Leaves that decide.
struct Places {
    keys: Vec<usize>,
    op: usize,
    shard: usize,
    sequence: usize,
    subsequence: usize,
}

impl Places {
    fn of(what: &Current<'_>, layout: &Layout) -> Result<Self> {
        let lacks = |problem: String| Error::Schema { table: what.schema.name.clone(), problem };
        let leaf = |name: &str| {
            let field = layout.fields.iter().find(|field| field.name == name && field.leaves.len() == 1);
            let missing = || lacks(format!("a current state needs a flat column `{name}` of its changes"));
            field.map(|field| field.leaves.start).ok_or_else(missing)
        };
        let op = what.schema.columns.iter().find(|c| matches!(c.from.as_slice(), [field] if field == "_op"));
        let op = op.ok_or_else(|| lacks("no column is read from `_op`".into()))?;
        let first = layout.provenance.ok_or_else(|| {
            lacks("`weir.provenance` is `footer`: the order of changes stands in its columns".into())
        })?;
        Ok(Self {
            keys: what.keys.iter().map(|key| leaf(key)).collect::<Result<_>>()?,
            op: leaf(&op.name)?,
            shard: first + 1,
            sequence: first + 2,
            subsequence: first + 3,
        })
    }
}

/// The last change of a key so far.
struct Change {
    shard: u32,
    sequence: SequenceNumber,
    subsequence: i32,
    /// Place in the rows of all inputs.
    at: u64,
    removed: bool,
}

/// Keys of a share, by a hash too wide to meet another one's.
#[derive(Default)]
struct Last {
    by_key: HashMap<[u8; 16], Change>,
    shards: Vec<Box<[u8]>>,
}

impl Last {
    /// Look at the rows of a block, the first of which stands at `at`.
    fn look(
        &mut self,
        block: &Block,
        places: &Places,
        at: u64,
        (share, shares): (u64, u64),
    ) -> std::result::Result<(), String> {
        let keys = Keys::of(block, &places.keys);
        let column = |leaf: usize| Values { leaf: &block.leaves[leaf], rank: 0 };
        let (mut ops, mut shards) = (column(places.op), column(places.shard));
        let (mut sequences, mut subsequences) = (column(places.sequence), column(places.subsequence));
        let mut scratch = [0; 16];
        for row in 0..block.rows as u32 {
            let (op, shard) = (ops.text(row), shards.text(row).unwrap_or_default());
            let (sequence, subsequence) = (sequences.text(row), subsequences.int(row).unwrap_or_default());
            let hash = Sha256::digest(keys.get(row, &mut scratch));
            let (mut key, mut low) = ([0; 16], [0; 8]);
            key.copy_from_slice(&hash[..16]);
            low.copy_from_slice(&hash[16..24]);
            if u64::from_le_bytes(low) % shares != share {
                continue;
            }
            let sequence = sequence.and_then(|digits| SequenceNumber::parse(digits).ok());
            let sequence =
                sequence.ok_or_else(|| format!("row {row}: _sequence is no number of a stream"))?;
            let shard = self.shard(shard);
            let change = Change {
                shard,
                sequence,
                subsequence,
                at: at + u64::from(row),
                removed: op == Some(b"remove"),
            };
            match self.by_key.get_mut(&key) {
                None => _ = self.by_key.insert(key, change),
                Some(last) if is_later(&self.shards, &change, last) => *last = change,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn shard(&mut self, name: &[u8]) -> u32 {
        // A block has few shards, and the last ones met come again.
        let known = self.shards.iter().rposition(|shard| **shard == *name);
        let at = known.unwrap_or_else(|| {
            self.shards.push(name.into());
            self.shards.len() - 1
        });
        at as u32
    }
}

fn is_later(shards: &[Box<[u8]>], a: &Change, b: &Change) -> bool {
    let order = |change: &Change| (change.sequence, change.subsequence);
    match shards[a.shard as usize].cmp(&shards[b.shard as usize]) {
        std::cmp::Ordering::Equal => order(a) > order(b),
        unequal => unequal.is_gt(),
    }
}

/// The values of a flat leaf, row by row.
struct Values<'a> {
    leaf: &'a BlockLeaf,
    rank: usize,
}

impl<'a> Values<'a> {
    fn next(&mut self, row: u32) -> Option<usize> {
        let there = self.leaf.defs.get(row as usize) == self.leaf.max_def;
        self.rank += usize::from(there);
        there.then(|| self.rank - 1)
    }

    fn text(&mut self, row: u32) -> Option<&'a [u8]> {
        let at = self.next(row)?;
        match &self.leaf.data {
            Data::Bytes(texts) => Some(texts.get(texts.ids[at])),
            _ => None,
        }
    }

    fn int(&mut self, row: u32) -> Option<i32> {
        let at = self.next(row)?;
        match &self.leaf.data {
            Data::Int32(values) => values.get(at).copied(),
            _ => None,
        }
    }
}
