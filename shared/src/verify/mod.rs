//! A lake → what is wrong with it: commits against files, footers, rows, quarantine and catalog.
//! Reads everything that commits say again and believes none of it; changes nothing unless asked to
//! repair, and then only what the protocol allows.
//!
//! ```text
//! chains ──► chain: versions, sets, folded ranges ──► files: footer, rows ──► overlap: positions twice
//!                                 │ listed names                 catalog: tables, partitions
//!                                 └──► stray: what lies there and no commit lists ──► repair
//! ```
//!
//! Memory is bounded by [`Budget`] however large the lake: what does not fit is looked at in
//! several passes. Only names of shards, partitions and dropped files are held for the whole run.
//!
//! A record that moves from the quarantine into a table does so by a commit of a chain of its own,
//! whose rows keep the identity of the record they came from: see [`Totals::replayed`].

mod catalog;
mod chain;
mod closed;
mod files;
mod finding;
mod folded;
mod footer;
mod keys;
mod overlap;
mod repair;
mod replay;
mod source;
mod stray;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::catalog::Catalog;
use crate::commit::format::CommittedFile;
use crate::commit::{LakeStore, PositionSet, reader};
use crate::error::Result;
use crate::naming::{ChainKey, QUARANTINE_TABLE};
use crate::partition::PartitionPath;

pub use finding::{Finding, Kind, Sink};
pub use repair::Repair;
pub use source::{SourceContents, compare_source};
pub use stream::{Compared, StreamComparison};

use closed::ClosedPartitions;
use keys::Keys;
use overlap::Spans;

/// What of the lake is looked at. Commits are always read whole; files, rows and catalog only of
/// what is named here.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only this table and its dead letters.
    pub table: Option<String>,
    /// Only this partition of the table.
    pub partition: Option<PartitionPath>,
}

impl Scope {
    fn takes(&self, file: &CommittedFile) -> bool {
        let Some(table) = &self.table else { return true };
        if let Some(partition) = &self.partition {
            return file.table == *table && file.partition == *partition;
        }
        file.table == *table || (file.quarantine && source_table(&file.partition).as_ref() == Some(table))
    }
}

/// The table that dead letters of a quarantine partition were meant for.
fn source_table(partition: &PartitionPath) -> Option<String> {
    partition.values().into_iter().find(|(key, _)| key == "source_table")?.1
}

/// How much is held at once; beyond it there are more passes, not more memory.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Versions of one chain whose ranges are held (72 bytes each).
    pub spans: usize,
    /// Names of listed files (16 bytes each).
    pub files: usize,
    /// Rows of one commit (16 bytes each, a few commits at once).
    pub rows: usize,
    /// Files without a commit that are looked into together.
    pub strays: usize,
}

impl Default for Budget {
    /// Some 200 MB if a lake fills all of it, with the slack of buffers that grow.
    fn default() -> Self {
        Self { spans: 500_000, files: 2_000_000, rows: 500_000, strays: 2_000 }
    }
}

/// How far it is, for those who watch.
#[derive(Debug, Default)]
pub struct Progress {
    /// Commits read.
    pub commits: AtomicU64,
    /// Files opened.
    pub files: AtomicU64,
    /// Rows whose position was read.
    pub rows: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Totals {
    /// Shards and loaded files.
    pub chains: u64,
    /// Commits.
    pub commits: u64,
    /// Files that commits list.
    pub files: u64,
    /// Rows of tables.
    pub rows: u64,
    /// Dead letters.
    pub quarantined: u64,
    /// Dead letters that a later commit of a replay has loaded, or judged again: they are counted in
    /// `rows` (or `quarantined`) by that commit, and in `quarantined` by the one that refused them
    /// first, so that each record is counted once in [`Totals::records`].
    pub replayed: u64,
    /// Findings.
    pub findings: u64,
    /// Findings that were repaired.
    pub repaired: u64,
}

impl Totals {
    /// Records that came in, each once.
    pub fn records(&self) -> u64 {
        (self.rows + self.quarantined).saturating_sub(self.replayed)
    }

    /// Dead letters that no replay has resolved.
    pub fn open_letters(&self) -> u64 {
        self.quarantined.saturating_sub(self.replayed)
    }

    /// Whether nothing is left to do.
    pub fn is_clean(&self) -> bool {
        self.findings == self.repaired
    }
}

/// What a chain lists.
#[derive(Debug)]
pub struct ChainReport {
    /// Which.
    pub chain: ChainKey,
    /// Newest version that was read.
    pub head: u64,
    /// Whether every version could be read.
    pub intact: bool,
    /// Rows of all tables.
    pub rows: u64,
    /// Dead letters of all tables.
    pub quarantined: u64,
    /// For a loaded file: the bytes that commits list.
    pub bytes: Option<PositionSet>,
    /// Stream or URL, and table, as the footer of one of its files says.
    pub origin: Option<Origin>,
    spans: Spans,
}

/// Where the records of a chain come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the stream, or URL of the file.
    pub stream: String,
    /// Table of the file that says so.
    pub table: String,
}

/// One run over a lake. Chains first, then [`Self::finish`].
pub struct Verifier {
    lake: LakeStore,
    catalog: Arc<dyn Catalog>,
    scope: Scope,
    budget: Budget,
    progress: Arc<Progress>,
    totals: Totals,
    keys: Keys,
    partitions: BTreeMap<String, BTreeSet<PartitionPath>>,
    chains: BTreeSet<ChainKey>,
    broken: BTreeSet<ChainKey>,
    closed: Arc<ClosedPartitions>,
    /// Rows that commits list and the newest revision covers.
    closed_rows: BTreeMap<(String, PartitionPath), u64>,
    /// What is wrong with objects of revisions, until it can be told.
    unread: Vec<Finding>,
}

impl Verifier {
    /// A run over `lake` and the tables of `catalog`.
    pub fn new(
        lake: LakeStore,
        catalog: Arc<dyn Catalog>,
        scope: Scope,
        budget: Budget,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            keys: Keys::new(budget.files),
            lake,
            catalog,
            scope,
            budget,
            progress,
            totals: Totals::default(),
            partitions: BTreeMap::new(),
            chains: BTreeSet::new(),
            broken: BTreeSet::new(),
            closed: Arc::default(),
            closed_rows: BTreeMap::new(),
            unread: Vec::new(),
        }
    }

    /// The chains of the lake, in order.
    ///
    /// # Errors
    /// The lake cannot be listed.
    pub async fn chains(&mut self) -> Result<Vec<ChainKey>> {
        // Before the chains are listed: what a revision covers is in what is read after it.
        self.closed = Arc::new(closed::load(&self.lake, &self.scope, &mut self.unread).await?);
        let chains = reader::chains(&self.lake).await?;
        self.chains = chains.iter().cloned().collect();
        Ok(chains)
    }

    /// One chain: its versions, what they list, and the files.
    ///
    /// # Errors
    /// A bad moment of the store; what is wrong with the lake is a finding.
    pub async fn chain(&mut self, chain: &ChainKey, sink: &mut Sink<'_>) -> Result<ChainReport> {
        let found = chain::verify(self, chain, sink).await?;
        if !found.intact {
            self.broken.insert(chain.clone());
        }
        Ok(found)
    }

    /// What lies in the lake beside the chains: files that no commit lists, and the catalog. With
    /// `repair`, the files that the protocol allows to be removed are removed.
    ///
    /// # Errors
    /// A bad moment of the store or the catalog.
    pub async fn finish(&mut self, repair: Option<&Repair<'_>>, sink: &mut Sink<'_>) -> Result<Totals> {
        stray::verify(self, repair, sink).await?;
        catalog::verify(self, sink).await?;
        std::mem::take(&mut self.unread).into_iter().for_each(|finding| self.report(finding, sink));
        closed::verify(self, sink).await?;
        Ok(self.totals)
    }

    /// Everything, in order; a report of each chain goes to `each`.
    ///
    /// # Errors
    /// A bad moment of the store or the catalog.
    pub async fn run(mut self, repair: Option<&Repair<'_>>, sink: &mut Sink<'_>) -> Result<Totals> {
        for chain in self.chains().await? {
            let _ = self.chain(&chain, sink).await?;
        }
        self.finish(repair, sink).await
    }

    fn has_broken_chain(&self) -> bool {
        !self.broken.is_empty()
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Count a finding that the caller made (a comparison with a source) and hand it on.
    pub fn report(&mut self, finding: Finding, sink: &mut Sink<'_>) {
        self.totals.findings += 1;
        self.totals.repaired += u64::from(finding.repaired);
        sink(finding);
    }

    fn tables_to_list(&self, known: Vec<String>) -> BTreeSet<String> {
        let mut tables: BTreeSet<String> = known.into_iter().collect();
        tables.extend(self.partitions.keys().cloned());
        tables.insert(QUARANTINE_TABLE.to_owned());
        if let Some(only) = &self.scope.table {
            tables.retain(|table| {
                table == only || (table == QUARANTINE_TABLE && self.scope.partition.is_none())
            });
            tables.insert(only.clone());
        }
        tables
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
