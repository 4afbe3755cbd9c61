//! The objects of a revision as bytes: JSON, read strictly. Each is created once and never changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::commit::format::unreadable;
use crate::compact::CompactedFile;
use crate::error::{Error, Result};
use crate::naming::ChainKey;

/// The format this program writes, and the newest it reads.
const FORMAT: u32 = 1;

/// Stream → shard → version: everything up to it is in the revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vector(pub BTreeMap<String, BTreeMap<String, u64>>);

impl Vector {
    /// The version of a chain that is covered; 0 if none is.
    pub fn of(&self, chain: &ChainKey) -> u64 {
        self.0.get(&chain.stream).and_then(|shards| shards.get(&chain.shard)).copied().unwrap_or(0)
    }

    /// Cover a chain up to a version.
    pub fn cover(&mut self, chain: &ChainKey, version: u64) {
        let here = self.0.entry(chain.stream.clone()).or_default().entry(chain.shard.clone()).or_default();
        *here = version.max(*here);
    }
}

/// Why a revision was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The partition was complete.
    Complete,
    /// Rows came after it was closed.
    Late,
    /// Somebody asked for it.
    ByHand,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Why::Complete => "complete",
            Why::Late => "late rows",
            Why::ByHand => "by hand",
        })
    }
}

/// A live file that a plan pins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFile {
    /// Name in the partition's live folder.
    pub name: String,
    /// Rows, as the commit says.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
}

/// What the revision before has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Its directory.
    pub directory: String,
    /// Its files.
    pub files: Vec<CompactedFile>,
    /// Rows of all commits up to it.
    pub committed: u64,
    /// Of these, rows that the dedupe key has left out.
    pub removed: u64,
}

/// What a revision is made of. Whoever creates it is the first owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Format.
    pub format: u32,
    /// The run that made it; also the name of its directory.
    pub owner: String,
    /// Why.
    pub why: Why,
    /// What is in it, with all revisions before.
    pub vector: Vector,
    /// New files, sorted by name.
    pub inputs: Vec<PlannedFile>,
    /// The revision before.
    pub base: Option<Base>,
    /// Records that the mapping gave up on since the revision before, or since the partition began.
    pub given_up: u64,
}

impl Plan {
    /// Rows of the new files.
    pub fn new_rows(&self) -> u64 {
        self.inputs.iter().map(|file| file.rows).sum()
    }
    /// Rows that a compaction must read.
    pub fn rows(&self) -> u64 {
        let base = self.base.iter().flat_map(|base| &base.files).map(|file| file.rows);
        self.new_rows() + base.sum::<u64>()
    }
    /// Rows of all commits that it covers.
    pub fn committed(&self) -> u64 {
        self.new_rows() + self.base.as_ref().map_or(0, |base| base.committed)
    }
}

/// Who took over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    pub(super) format: u32,
    pub(super) run: String,
    /// Names its directory: the last owner's, if that one has ended in order.
    pub(super) nonce: String,
}

/// The directory that won.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionResult {
    /// Format.
    pub format: u32,
    /// Below the lake, without a slash at its end.
    pub directory: String,
    /// Its files.
    pub files: Vec<CompactedFile>,
    /// Rows of all commits up to it: rows here and rows removed.
    pub committed: u64,
    /// Rows that the dedupe key has left out, in this revision and those before.
    pub removed: u64,
}

impl RevisionResult {
    /// Rows that readers see.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
    /// Bytes of the files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// An action that is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// Format.
    pub format: u32,
    /// The action.
    pub action: String,
    /// What names the run.
    pub run: String,
}

/// An action and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionOutcome {
    /// The action.
    pub action: String,
    /// What names the run; none if it was not started.
    pub run: Option<String>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The end of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoneRecord {
    /// Format.
    pub format: u32,
    /// What became of the actions, in the table's order. Late rows make a new revision even if some
    /// were not started: they are, for the new one.
    pub actions: Vec<ActionOutcome>,
}

/// An object whose format is known.
pub(super) trait Versioned: Serialize + DeserializeOwned {
    /// The format that this program writes.
    const FORMAT: u32 = FORMAT;
}

impl Versioned for Plan {}
impl Versioned for Owner {}
impl Versioned for RevisionResult {}
impl Versioned for Started {}
impl Versioned for DoneRecord {}

pub(super) fn encode<T: Versioned>(object: &T) -> Result<Bytes> {
    let mut bytes = serde_json::to_vec(object)
        .map_err(|e| Error::Internal(format!("cannot encode an object of close: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

pub(super) fn decode<T: Versioned>(key: &str, bytes: &Bytes) -> Result<T> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let found: Format = serde_json::from_slice(bytes).map_err(|e| unreadable(key, e))?;
    if found.format != T::FORMAT {
        let (found, known) = (found.format, T::FORMAT);
        return Err(unreadable(
            key,
            format!("format {found}, this program knows {known}; deploy a newer one"),
        ));
    }
    serde_json::from_slice(bytes).map_err(|e| unreadable(key, e))
}

/// The format of new objects.
pub(super) const fn format() -> u32 {
    FORMAT
}
