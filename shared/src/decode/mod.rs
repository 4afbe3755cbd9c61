//! JSON documents → values in column buffers, or why not.
//!
//! One plan, compiled once from the table, two paths through it. The **tape** (simd-json) judges
//! every input. The **cursor** stands in front of it and reads the shape it expects at a multiple
//! of the speed; what it does not expect it leaves to the tape. Both push scalars through the same
//! conversions, so a value means the same on either.

mod cursor;
mod plan;
mod raw;
mod step;
mod tape;
#[cfg(test)]
mod tests;
pub(crate) mod time;
mod unknown;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::columns::{ColumnSet, Layout};
use crate::dead_letter::Reason;
use crate::error::Result;
use crate::schema::TableSchema;

pub use raw::text_at;

use cursor::Cursor;
use plan::Plan;
use tape::TapePath;
use unknown::Unknown;

/// After so many documents in a row that the cursor gave up on, it is asked only now and then.
const GIVE_UP_AFTER: u32 = 64;
/// How often it is asked then: one document in so many.
const ASK_AGAIN_EVERY: u32 = 64;

/// Why a document is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Class.
    pub reason: Reason,
    /// Path of the field (`items[2].price`), empty for the whole document.
    pub path: String,
    /// What the table takes there.
    pub expected: String,
    /// What was found, cut to a short text.
    pub found: String,
}

/// Which way documents take; tests compare the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Cursor first, tape behind it
    Fast,
    /// Tape only
    Judge,
}

/// Decodes documents of one table. Holds reused buffers: one per thread.
pub struct Decoder {
    plan: Plan,
    layout: Arc<Layout>,
    cursor: Cursor,
    tape: TapePath,
    unknown: Unknown,
    path: Path,
    misses: u32,
}

impl Decoder {
    /// Compile a table.
    ///
    /// # Errors
    /// [`crate::Error::Schema`] when columns or their constraints contradict each other.
    pub fn new(table: &TableSchema, path: Path) -> Result<Self> {
        let layout = Arc::new(Layout::of(table));
        let plan = Plan::compile(table, &layout)?;
        let cursor = Cursor::new(&plan);
        let unknown = Unknown::new(table.unknown_fields);
        Ok(Self { plan, layout, cursor, tape: TapePath::default(), unknown, path, misses: 0 })
    }

    /// The shape of the columns it fills.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Push the record's columns of one row, `_rescued` included, provenance not; the caller pushes
    /// that and calls [`ColumnSet::finish_row`]. `utf8`: the document is known to be valid UTF-8.
    ///
    /// # Errors
    /// The refusal; `set` is then as it was.
    #[inline]
    pub fn decode(&mut self, doc: &[u8], utf8: bool, set: &mut ColumnSet) -> Result<(), Box<Refusal>> {
        if utf8 && self.path == Path::Fast && self.cursor_is_worth_it() {
            if self.cursor.decode(&self.plan, doc, set) {
                self.misses = 0;
                if let Some(leaf) = self.layout.rescued {
                    set.push_null(leaf..leaf + 2, 0, 0);
                }
                return Ok(());
            }
            self.misses += 1;
            set.truncate_row();
        }
        self.judge(doc, set)
    }

    #[inline]
    fn cursor_is_worth_it(&mut self) -> bool {
        if self.misses < GIVE_UP_AFTER {
            return true;
        }
        self.misses += 1;
        self.misses.is_multiple_of(ASK_AGAIN_EVERY)
    }

    #[cold]
    #[inline(never)]
    fn judge(&mut self, doc: &[u8], set: &mut ColumnSet) -> Result<(), Box<Refusal>> {
        self.unknown.begin_row();
        if let Err(violation) = self.tape.decode(&self.plan, doc, set, &mut self.unknown) {
            set.truncate_row();
            let value::Violation { reason, path, expected, found } = *violation;
            return Err(Box::new(Refusal { reason, path, expected, found }));
        }
        if let Some(leaf) = self.layout.rescued {
            match self.unknown.take_rescued() {
                Some((text, cut)) => {
                    set.leaves[leaf].push_bytes(text, 0);
                    set.leaves[leaf + 1].push_bool(cut.into(), 0);
                }
                None => set.push_null(leaf..leaf + 2, 0, 0),
            }
        }
        Ok(())
    }

    /// Decode a document that [`Decoder::decode`] has taken just before, into other columns.
    ///
    /// # Errors
    /// As the first time: none.
    pub fn decode_again(&mut self, doc: &[u8], utf8: bool, set: &mut ColumnSet) -> Result<(), Box<Refusal>> {
        self.unknown.set_counting(false);
        let result = self.decode(doc, utf8, set);
        self.unknown.set_counting(true);
        result
    }

    /// How often each unknown field was met since the last call, by path.
    pub fn take_unknown_fields(&mut self) -> BTreeMap<String, u64> {
        self.unknown.take_counts()
    }
}
