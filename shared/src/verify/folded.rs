//! What checkpoint and segments say of the versions, one version after the other: the newest
//! checkpoint, which is the one that cold writers read, and the segments that it names.

use super::finding::{Finding, Kind};
use crate::commit::LakeStore;
use crate::commit::checkpoint::{Checkpoint, Span};
use crate::error::Result;
use crate::naming::{ChainKey, LogEntry};
use crate::record::SequenceNumber;

const SEGMENT_WAY_OUT: &str =
    "remove it and the checkpoints from its version on: they are a cache, and the next fold makes them again";
const CHECKPOINT_WAY_OUT: &str = "remove it: it is a cache, and the next fold makes another";

/// The folded side of a chain.
#[derive(Debug, Default)]
pub(super) struct Folded {
    checkpoint: Option<Checkpoint>,
    key: String,
    segment: Option<Segment>,
    /// Objects already found wrong: one finding each.
    told: Vec<String>,
}

#[derive(Debug)]
struct Segment {
    key: String,
    /// None if it could not be read.
    content: Option<Checkpoint>,
    last: u64,
}

impl Folded {
    /// Read the newest checkpoint, if there is one.
    pub(super) async fn open(
        lake: &LakeStore,
        chain: &ChainKey,
        newest: Option<u64>,
        findings: &mut Vec<Finding>,
    ) -> Result<Self> {
        let Some(version) = newest else { return Ok(Self::default()) };
        let key = chain.object(LogEntry::Checkpoint(version));
        let mut folded = Self { key, ..Self::default() };
        let Some(bytes) = lake.get(&folded.key).await? else { return Ok(folded) };
        match Checkpoint::decode(&folded.key, &bytes) {
            Ok(checkpoint) if checkpoint.head() == version => folded.checkpoint = Some(checkpoint),
            Ok(checkpoint) => {
                let problem = format!("it ends at version {}, its name says {version}", checkpoint.head());
                folded.tell(folded.key.clone(), problem, CHECKPOINT_WAY_OUT, findings);
            }
            Err(error) => folded.tell(folded.key.clone(), cause(&error), CHECKPOINT_WAY_OUT, findings),
        }
        Ok(folded)
    }

    /// What they say of a version; none if they say nothing. To be asked in order.
    pub(super) async fn span(
        &mut self,
        lake: &LakeStore,
        chain: &ChainKey,
        version: u64,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<(String, Span)>> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(None) };
        if version > checkpoint.base {
            let at = usize::try_from(version - checkpoint.base - 1).unwrap_or(usize::MAX);
            return Ok(checkpoint.spans.get(at).map(|span| (self.key.clone(), *span)));
        }
        let Some(last) = checkpoint.segments.iter().map(|s| s.version).find(|last| *last >= version) else {
            return Ok(None);
        };
        if self.segment.as_ref().is_none_or(|segment| segment.last != last) {
            let segment = self.read_segment(lake, chain, last, findings).await?;
            self.segment = Some(segment);
        }
        let Some(Segment { key, content: Some(content), .. }) = &self.segment else { return Ok(None) };
        let at = version.checked_sub(content.base + 1).and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| content.spans.get(at)).map(|span| (key.clone(), *span)))
    }

    /// Compare with what the commit of that version says.
    pub(super) fn compare(
        &mut self,
        version: u64,
        folded: Option<(String, Span)>,
        commit: Span,
        findings: &mut Vec<Finding>,
    ) {
        let Some((key, span)) = folded.filter(|(_, span)| *span != commit) else { return };
        let way_out = if key == self.key { CHECKPOINT_WAY_OUT } else { SEGMENT_WAY_OUT };
        let (span, commit) = (text(span), text(commit));
        let problem = format!("it says that version {version} lists {span}, the commit lists {commit}");
        self.tell(key, problem, way_out, findings);
    }

    /// Whether the checkpoint knows a dropped name of a version that it covers.
    pub(super) fn knows_drop(&mut self, version: u64, key: &str, findings: &mut Vec<Finding>) {
        let Some(checkpoint) = &self.checkpoint else { return };
        if version <= checkpoint.head() && !checkpoint.drops.iter().any(|drop| drop == key) {
            let problem = format!("it does not hold that version {version} drops {key}");
            self.tell(self.key.clone(), problem, CHECKPOINT_WAY_OUT, findings);
        }
    }

    async fn read_segment(
        &mut self,
        lake: &LakeStore,
        chain: &ChainKey,
        last: u64,
        findings: &mut Vec<Finding>,
    ) -> Result<Segment> {
        let key = chain.object(LogEntry::Segment(last));
        let problem = match lake.get(&key).await? {
            None => "a checkpoint names it and it is not there".to_owned(),
            Some(bytes) => match Checkpoint::decode(&key, &bytes) {
                Ok(content) if content.head() == last => {
                    return Ok(Segment { key, content: Some(content), last });
                }
                Ok(content) => format!("it ends at version {}, its name says {last}", content.head()),
                Err(error) => cause(&error),
            },
        };
        self.tell(key.clone(), problem, SEGMENT_WAY_OUT, findings);
        Ok(Segment { key, content: None, last })
    }

    fn tell(&mut self, key: String, problem: String, way_out: &str, findings: &mut Vec<Finding>) {
        if !self.told.contains(&key) {
            findings.push(Finding::new(Kind::FoldedWrongly, key.clone(), problem, way_out));
            self.told.push(key);
        }
    }
}

/// A span for people.
pub(super) fn text(span: Option<(SequenceNumber, SequenceNumber)>) -> String {
    match span {
        Some((min, max)) => format!("{min} to {max}"),
        None => "no record".to_owned(),
    }
}

/// The problem of an error that names its object, without the object.
pub(super) fn cause(error: &crate::error::Error) -> String {
    match error {
        crate::error::Error::Format { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}
