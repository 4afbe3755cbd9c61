//! The objects of a view's chain as bytes: JSON, packed with zstd. Each is created once and never
//! changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::objects::{Versioned, decode, encode};
use crate::clock::EpochMicros;
use crate::commit::LakeStore;
use crate::commit::format::unreadable;
use crate::commit::store::Put;
use crate::compact::{CompactedFile, StateFiles};
use crate::error::Result;
use crate::naming::current::{StateObject, object};
use crate::partition::PartitionPath;

const LEVEL: i32 = 3;

/// What a state is made of. Whoever creates it has pinned it for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatePlan {
    pub(super) format: u32,
    /// The run that made it: the name of its directories.
    pub(super) nonce: String,
    /// Columns that name an item.
    pub(super) keys: Vec<String>,
    /// Whether the state before is in it; if not, all closed partitions are.
    pub(super) on_top: bool,
    /// Closed partitions that are taken in.
    pub(super) folds: BTreeMap<PartitionPath, FoldedRevision>,
    /// When all closed partitions were looked through, by the services' clocks.
    pub(super) looked_through: EpochMicros,
}

/// A revision of a partition of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FoldedRevision {
    pub(super) revision: u32,
    /// Its directory.
    pub(super) directory: String,
    /// Its files.
    pub(super) files: Vec<CompactedFile>,
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateResult {
    pub(super) format: u32,
    pub(crate) files: StateFiles,
    /// Partition → its newest revision that is in the state.
    pub(crate) folded: BTreeMap<PartitionPath, u32>,
    pub(super) keys: Vec<String>,
    pub(super) looked_through: EpochMicros,
}

impl Versioned for StatePlan {}
impl Versioned for StateResult {}

/// An object of a chain.
pub(crate) trait OfChain: Versioned {
    /// Which one.
    const OBJECT: StateObject;
}

impl OfChain for StatePlan {
    const OBJECT: StateObject = StateObject::Plan;
}

impl OfChain for StateResult {
    const OBJECT: StateObject = StateObject::Result;
}

/// Read an object of a state, if it is there.
pub(crate) async fn get<T: OfChain>(lake: &LakeStore, view: &str, state: u32) -> Result<Option<T>> {
    let key = object(view, state, T::OBJECT);
    let Some(bytes) = lake.get(&key).await? else { return Ok(None) };
    let text = zstd::decode_all(bytes.as_ref()).map_err(|e| unreadable(&key, e))?;
    decode(&key, &Bytes::from(text)).map(Some)
}

/// Put an object of a state, and read the one that stands: ours, or that of who was faster.
pub(super) async fn settle<T: OfChain>(lake: &LakeStore, view: &str, state: u32, ours: T) -> Result<T> {
    let key = object(view, state, T::OBJECT);
    let packed = zstd::encode_all(encode(&ours)?.as_ref(), LEVEL);
    let packed = packed.map_err(|e| crate::Error::Internal(format!("cannot encode {key}: {e}")))?;
    if lake.put_if_absent(&key, Bytes::from(packed)).await? == Put::Created {
        return Ok(ours);
    }
    get(lake, view, state).await?.ok_or_else(|| unreadable(&key, "it was there and is gone"))
}
