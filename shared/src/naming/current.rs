//! Keys of the current states that close keeps of tables of changes, and the way back.
//!
//! ```text
//! <view>/closed/snapshot=current/r0007-<nonce>/part-00000.parquet        what readers see of state 7
//! _weir/current/<view>/chain/<10^12 - 1 - state>.plan · .result · .collected     a list shows the newest first
//! _weir/current/<view>/removed/s0007-<nonce>/part-00000.parquet          removals that are remembered
//! _weir/current/<view>/work/s0007-<nonce>/…                              what its steps leave for each other
//! ```

use super::VERSIONS;
use super::closed::closed_directory;
use crate::partition::PartitionPath;

/// Folder of all current states.
pub const CURRENT: &str = "_weir/current";
/// The only partition key of a table that holds a current state, and its value: readers see a new
/// state by one switch of that partition's location.
pub const SNAPSHOT: (&str, &str) = ("snapshot", "current");

/// What stands in the chain of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateObject {
    /// Pins what goes into the state.
    Plan,
    /// Its files.
    Result,
    /// The files of the state before are deleted.
    Collected,
}

/// The partition.
pub fn snapshot() -> PartitionPath {
    PartitionPath::from_values([(SNAPSHOT.0, Some(SNAPSHOT.1))])
}

/// Folder of a view's chain.
pub fn chain(view: &str) -> String {
    format!("{CURRENT}/{view}/chain")
}

/// Key of an object of the chain.
pub fn object(view: &str, state: u32, object: StateObject) -> String {
    let name = match object {
        StateObject::Plan => "plan",
        StateObject::Result => "result",
        StateObject::Collected => "collected",
    };
    format!("{}/{:012}.{name}", chain(view), VERSIONS - 1 - u64::from(state))
}

/// Read the key of an object of a chain: the number of its state, and what it is.
pub fn parse_object(key: &str) -> Option<(u32, StateObject)> {
    let (number, name) = key.rsplit('/').next()?.split_once('.')?;
    if number.len() != 12 {
        return None;
    }
    let state = VERSIONS.checked_sub(1)?.checked_sub(number.parse::<u64>().ok()?)?;
    let object = match name {
        "plan" => StateObject::Plan,
        "result" => StateObject::Result,
        "collected" => StateObject::Collected,
        _ => return None,
    };
    Some((u32::try_from(state).ok()?, object))
}

/// Folder of the rows that readers see of a state.
pub fn directory(view: &str, state: u32, nonce: &str) -> String {
    closed_directory(view, &snapshot(), state, nonce)
}

/// Folder of the removals that a state remembers.
pub fn removed(view: &str, state: u32, nonce: &str) -> String {
    format!("{CURRENT}/{view}/removed/s{state:04}-{nonce}")
}

/// Folder of what the steps of a state leave for each other.
pub fn work(view: &str, state: u32, nonce: &str) -> String {
    format!("{CURRENT}/{view}/work/s{state:04}-{nonce}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_back_foreign_ones_are_not_and_a_list_shows_the_newest_first() {
        for state in [1, 7, 40_000] {
            for what in [StateObject::Plan, StateObject::Result, StateObject::Collected] {
                let key = object("orders_current", state, what);
                assert_eq!(parse_object(&key), Some((state, what)), "{key}");
            }
        }
        for foreign in ["", "7.plan", "_weir/current/o/chain/999999999992.other", "x99999999992.plan"] {
            assert_eq!(parse_object(foreign), None, "{foreign}");
        }
        assert_eq!(object("o", 7, StateObject::Plan), "_weir/current/o/chain/999999999992.plan");
        assert!(object("o", 8, StateObject::Plan) < object("o", 7, StateObject::Collected));
        assert_eq!(directory("o", 7, "a-1"), "o/closed/snapshot=current/r0007-a-1");
        assert_eq!(removed("o", 7, "a-1"), "_weir/current/o/removed/s0007-a-1");
    }
}
