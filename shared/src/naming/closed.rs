//! Keys of what close keeps and makes, and the way back.
//!
//! ```text
//! <table>/closed/<partition>/r0002-<nonce>/part-00000.parquet
//! _weir/close/<table>/<partition>/r0002/plan · owner-<k> · owner-<k>.released · result
//!                                       · action-<name> · action-<name>.done · done · collected
//! _weir/compact/<table>/<partition>/r0002-<nonce>/…      what steps of a compaction leave for each other
//! _weir/summary/<10^12 - 1 - number>                      a cache of close; a list shows the newest first
//! _weir/touched/<stream>/<shard>-<version>                this version may exist: close looks at the chain
//! _weir/now/<run>                                         put to ask the store for its time, and deleted
//! ```

use sha2::{Digest, Sha256};

use super::{ChainKey, VERSIONS};
use crate::partition::PartitionPath;

/// Folder of the objects of all revisions.
pub const CLOSE: &str = "_weir/close";
/// Folder of close's summaries.
pub const SUMMARIES: &str = "_weir/summary";
/// Folder of the markers of chains that no stream leads to.
pub const TOUCHED: &str = "_weir/touched";
/// Folder of what compactions leave between their steps.
const COMPACT: &str = "_weir/compact";

/// A partition as close sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClosePrefix(String);

/// What stands in the folder of a revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseObject {
    /// Pins the inputs; its maker is the first owner.
    Plan,
    /// Takes over; counted from 2.
    Owner(u32),
    /// The owner of that number has ended and will do nothing more.
    Released(u32),
    /// Names the directory that won.
    Result,
    /// An action may have been started.
    Action(String),
    /// An action is started.
    ActionDone(String),
    /// Nothing is left to do.
    Done,
    /// What the revision superseded is deleted.
    Collected,
}

impl ClosePrefix {
    /// Of a partition.
    pub fn of(table: &str, partition: &PartitionPath) -> Self {
        Self(format!("{CLOSE}/{table}/{partition}"))
    }

    /// The folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Key of an object of a revision.
    pub fn object(&self, revision: u32, object: &CloseObject) -> String {
        let name = match object {
            CloseObject::Plan => "plan".to_owned(),
            CloseObject::Owner(k) => format!("owner-{k}"),
            CloseObject::Released(k) => format!("owner-{k}.released"),
            CloseObject::Result => "result".to_owned(),
            CloseObject::Action(name) => format!("action-{name}"),
            CloseObject::ActionDone(name) => format!("action-{name}.done"),
            CloseObject::Done => "done".to_owned(),
            CloseObject::Collected => "collected".to_owned(),
        };
        format!("{}/r{revision:04}/{name}", self.0)
    }
}

/// Read the key of an object: table, partition, revision and what it is. Foreign names are none.
pub fn parse_close(key: &str) -> Option<(String, PartitionPath, u32, CloseObject)> {
    let (table, rest) = key.strip_prefix(CLOSE)?.strip_prefix('/')?.split_once('/')?;
    let (rest, name) = rest.rsplit_once('/')?;
    let (partition, revision) = rest.rsplit_once('/')?;
    let partition = PartitionPath::parse(partition).ok()?;
    let revision = revision.strip_prefix('r')?.parse().ok()?;
    let object = match name {
        "plan" => CloseObject::Plan,
        "result" => CloseObject::Result,
        "done" => CloseObject::Done,
        "collected" => CloseObject::Collected,
        _ => {
            if let Some(owner) = name.strip_prefix("owner-") {
                match owner.strip_suffix(".released") {
                    Some(k) => CloseObject::Released(k.parse().ok()?),
                    None => CloseObject::Owner(owner.parse().ok()?),
                }
            } else {
                let action = name.strip_prefix("action-")?;
                match action.strip_suffix(".done") {
                    Some(action) => CloseObject::ActionDone(action.to_owned()),
                    None => CloseObject::Action(action.to_owned()),
                }
            }
        }
    };
    Some((table.to_owned(), partition, revision, object))
}

/// Folder of all closed directories of a partition.
pub fn closed_prefix(table: &str, partition: &PartitionPath) -> String {
    format!("{table}/closed/{partition}")
}

/// Folder of a revision's files.
pub fn closed_directory(table: &str, partition: &PartitionPath, revision: u32, nonce: &str) -> String {
    format!("{}/r{revision:04}-{nonce}", closed_prefix(table, partition))
}

/// The revision of a file below [`closed_prefix`], and its directory.
pub fn parse_closed_file(key: &str) -> Option<(u32, &str)> {
    let (directory, _) = key.rsplit_once('/')?;
    let (_, name) = directory.rsplit_once('/')?;
    let (revision, _) = name.strip_prefix('r')?.split_once('-')?;
    Some((revision.parse().ok()?, directory))
}

/// Folder for what the steps of a compaction leave for each other.
pub fn compaction_work(table: &str, partition: &PartitionPath, revision: u32, nonce: &str) -> String {
    format!("{COMPACT}/{table}/{partition}/r{revision:04}-{nonce}")
}

/// Key of a summary.
pub fn summary(number: u64) -> String {
    format!("{SUMMARIES}/{:012}", VERSIONS - 1 - number)
}

/// Number of a summary.
pub fn parse_summary(key: &str) -> Option<u64> {
    let number = key.strip_prefix(SUMMARIES)?.strip_prefix('/')?;
    (number.len() == 12).then(|| number.parse::<u64>().ok())?.map(|n| VERSIONS - 1 - n)
}

/// Marker that this version of a chain may come to exist.
pub fn touched(chain: &ChainKey, version: u64) -> String {
    format!("{TOUCHED}/{}/{}-{version}", chain.stream, chain.shard)
}

/// Read a marker.
pub fn parse_touched(key: &str) -> Option<(ChainKey, u64)> {
    let (stream, name) = key.strip_prefix(TOUCHED)?.strip_prefix('/')?.split_once('/')?;
    let (shard, version) = name.rsplit_once('-')?;
    Some((ChainKey { stream: stream.to_owned(), shard: shard.to_owned() }, version.parse().ok()?))
}

/// Key of an object that is put to learn the store's time.
pub fn time_probe(run: &str) -> String {
    format!("_weir/now/{run}")
}

/// Text as a name in `[a-z0-9-]` of at most 49 characters; two texts never get one name.
pub fn slug(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut name: String = text.chars().map(fits).take(40).collect();
    let hash = Sha256::digest(text.as_bytes());
    name.push_str(&format!("-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]));
    name
}

/// 16 hex digits of the hash of some texts.
pub fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_back_and_foreign_ones_are_not() {
        let partition = PartitionPath::parse("dt=2026-11-20/hour=2026-11-20-05").unwrap();
        let prefix = ClosePrefix::of("clicks", &partition);
        for object in [
            CloseObject::Plan,
            CloseObject::Owner(2),
            CloseObject::Released(1),
            CloseObject::Result,
            CloseObject::Action("event-00ff".into()),
            CloseObject::ActionDone("event-00ff".into()),
            CloseObject::Done,
            CloseObject::Collected,
        ] {
            let key = prefix.object(2, &object);
            let back = parse_close(&key).unwrap_or_else(|| panic!("{key}"));
            assert_eq!(back, ("clicks".into(), partition.clone(), 2, object), "{key}");
        }
        assert_eq!(
            prefix.object(2, &CloseObject::Plan),
            "_weir/close/clicks/dt=2026-11-20/hour=2026-11-20-05/r0002/plan"
        );
        for foreign in
            ["_weir/close/clicks/plan", "_weir/close/clicks/dt=1/r1/x", "_weir/close/t/dt=1/x/plan"]
        {
            assert_eq!(parse_close(foreign), None, "{foreign}");
        }
        let directory = closed_directory("clicks", &partition, 2, "1f3a");
        assert_eq!(directory, "clicks/closed/dt=2026-11-20/hour=2026-11-20-05/r0002-1f3a");
        assert_eq!(parse_closed_file(&format!("{directory}/part-0.parquet")), Some((2, directory.as_str())));
        assert_eq!(parse_summary(&summary(7)), Some(7));
        assert!(summary(8) < summary(7), "a list shows the newest first");
        let chain = ChainKey { stream: "s-1-0a".into(), shard: "shardId-0.replay".into() };
        assert_eq!(parse_touched(&touched(&chain, 12)), Some((chain, 12)));
    }

    #[test]
    fn slugs_are_names_and_tell_texts_apart() {
        let arn = "state-machine:arn:aws:states:eu-west-1:1:stateMachine:Close";
        for text in ["event", "job:a", "job:A", "job-a", arn] {
            let name = slug(text);
            assert!(name.len() <= 49, "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
        }
        assert_ne!(slug("job:a"), slug("job:A"));
    }
}
