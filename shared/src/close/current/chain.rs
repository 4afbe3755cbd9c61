//! The states that a view has: which is the newest, which is planned, which have files to delete.

use std::collections::BTreeSet;

use super::objects::{StatePlan, StateResult, get};
use crate::commit::LakeStore;
use crate::commit::format::unreadable;
use crate::error::Result;
use crate::naming::current::{self, StateObject};

/// Keys that are listed at once.
const PAGE: usize = 1_000;

/// The chain of a view.
#[derive(Debug)]
pub(super) struct StateChain {
    /// The newest state that is made.
    pub(super) newest: Option<(u32, StateResult)>,
    /// The one behind it, if it is begun.
    pub(super) planned: Option<(u32, StatePlan)>,
    /// States that are made, and the files of the states before them not deleted; ascending.
    pub(super) uncollected: Vec<u32>,
}

impl StateChain {
    pub(super) async fn read(lake: &LakeStore, view: &str) -> Result<Self> {
        let objects = list(lake, view).await?;
        let of = |what: StateObject| objects.iter().filter(move |(_, o)| *o == what).map(|(state, _)| *state);
        let made = of(StateObject::Result).max().unwrap_or(0);
        let collected = of(StateObject::Collected).max().unwrap_or(0);
        let planned = of(StateObject::Plan).max().filter(|planned| *planned > made);
        let gone = |state, what| unreadable(&current::object(view, state, what), "it was listed and is gone");
        let newest = match made {
            0 => None,
            n => Some((n, get(lake, view, n).await?.ok_or_else(|| gone(n, StateObject::Result))?)),
        };
        let planned = match planned {
            None => None,
            Some(n) => Some((n, get(lake, view, n).await?.ok_or_else(|| gone(n, StateObject::Plan))?)),
        };
        let uncollected = of(StateObject::Result).filter(|state| *state > collected);
        let uncollected: BTreeSet<u32> = uncollected.collect();
        Ok(Self { newest, planned, uncollected: uncollected.into_iter().collect() })
    }

    /// Number of the newest state; 0 if there is none.
    pub(super) fn number(&self) -> u32 {
        self.newest.as_ref().map_or(0, |(state, _)| *state)
    }
}

/// The newest objects, down to a state whose files are collected: those below it are, too.
async fn list(lake: &LakeStore, view: &str) -> Result<BTreeSet<(u32, StateObject)>> {
    let (prefix, mut after) = (current::chain(view), None::<String>);
    let mut objects = BTreeSet::new();
    loop {
        let keys = lake.list_after(&prefix, after.as_deref(), PAGE).await?;
        objects.extend(keys.iter().filter_map(|key| current::parse_object(key)));
        let ends = objects.iter().any(|(_, object)| *object == StateObject::Collected);
        if ends || keys.len() < PAGE {
            return Ok(objects);
        }
        after = keys.last().cloned();
    }
}
