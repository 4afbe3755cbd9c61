//! The chain of a shard's replays: does every commit replace letter files that were listed, each once,
//! and does it hold their letters again, no more and no fewer (C8)?

use std::collections::BTreeSet;

use super::Verifier;
use super::files::Context;
use super::finding::{Finding, Kind};
use super::footer::{Opened, Unread, open};
use crate::commit::format::CommitHeader;
use crate::error::{Error, Result};
use crate::naming::ChainKey;
use crate::record::RecordId;
use crate::replay::resolutions;

/// Judge the replays of `shard` as a whole, and count the letters that they judged again.
pub(super) async fn verify(
    verifier: &mut Verifier,
    shard: &ChainKey,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let way_out = "rows of these letters may be seen twice or not at all: tell what wrote the commit";
    let resolutions = match resolutions(&verifier.lake, shard).await {
        Ok(resolutions) => resolutions,
        Err(Error::Format { object, problem, .. }) => {
            findings.push(Finding::new(Kind::BrokenCommit, object, problem, way_out));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for resolution in resolutions {
        let judged: u64 = resolution.replaced.iter().map(|file| file.file.rows).sum();
        let held = resolution.rows + resolution.letters;
        if judged != held {
            let problem = format!(
                "version {} replaces {judged} letters and holds {held} rows and letters",
                resolution.version
            );
            findings.push(Finding::new(Kind::BrokenCommit, resolution.chain.prefix(), problem, way_out));
        }
        let taken = resolution.replaced.iter().filter(|file| verifier.scope.takes(&file.file));
        verifier.totals.replayed += taken.map(|file| file.file.rows).sum::<u64>();
    }
    Ok(())
}

/// The letters that a commit judged again; none if a file of them cannot be read, which is found
/// where that file is listed.
pub(super) async fn letters(
    context: &Context,
    version: u64,
    header: &CommitHeader,
    findings: &mut Vec<Finding>,
) -> Result<Option<BTreeSet<RecordId>>> {
    let mut letters = BTreeSet::new();
    for key in &header.replaces {
        let Opened::Footer(footer) = open(&context.lake, key, 0).await? else { return Ok(None) };
        let Some(columns) = footer.identity_columns() else { return Ok(None) };
        let mut twice = None;
        let mut each = |id| {
            if !letters.insert(id) {
                twice = Some(id);
            }
        };
        match footer.identities(&context.lake, key, columns, &mut each).await {
            Ok(_) => {}
            Err(Unread::Store(error)) => return Err(error),
            Err(Unread::Damaged(_)) => return Ok(None),
        }
        if let Some(id) = twice {
            let (sequence, sub) = (id.sequence, id.subsequence);
            let problem = format!("version {version} judges letter {sequence}.{sub} of it a second time");
            let way_out = "tell what wrote the file: a letter lies in one listed file at any time";
            findings.push(Finding::new(Kind::DuplicateRows, key.clone(), problem, way_out));
        }
    }
    Ok(Some(letters))
}
