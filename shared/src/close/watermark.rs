//! Streams → up to when everything that arrived is committed, and which shard holds it back.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};

use super::inventory::PARALLEL;
use super::stream::{GivenUpRange, Look, Shards, Stream, StreamShard};
use super::summary::Summary;
use crate::clock::EpochMicros;
use crate::error::{Error, Result};
use crate::limits;
use crate::naming::ChainKey;
use crate::record::{SequenceNumber, Shard};

/// A shard that partitions wait for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HoldingShard {
    /// Key of the stream.
    pub stream: String,
    /// Shard id.
    pub shard: String,
    /// Arrival of its oldest record that no commit lists.
    pub oldest_us: EpochMicros,
    /// Whether that is longer ago than any batch takes.
    pub stuck: bool,
}

/// What a stream came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StreamMark {
    /// Key of the stream.
    pub stream: String,
    /// Everything that arrived before is committed; none if the stream cannot be asked.
    pub watermark_us: Option<EpochMicros>,
    /// Open shards that were asked.
    pub shards: u64,
    /// Shards with records that no commit lists, oldest first.
    pub holding: Vec<HoldingShard>,
    /// Why the stream cannot be asked, or is not.
    pub problem: Option<String>,
}

/// A stream whose shards are known, before its chains are read.
pub(super) struct Listed<'a> {
    pub(super) stream: &'a dyn Stream,
    pub(super) shards: Result<Shards>,
    pub(super) given_up: Vec<GivenUpRange>,
}

impl<'a> Listed<'a> {
    /// Ask a stream for its shards.
    pub(super) async fn of(stream: &'a dyn Stream) -> Self {
        let given_up = match stream.given_up().await {
            Ok(given_up) => given_up,
            Err(error) => {
                let problem = format!("the on-failure destination cannot be read: {}", describe(&error));
                return Self { stream, shards: Err(Error::Event(problem)), given_up: Vec::new() };
            }
        };
        Self { stream, shards: stream.shards().await, given_up }
    }

    /// Chains of the shards that are not known to be read to their end.
    pub(super) fn open(&self, summary: &Summary) -> BTreeSet<ChainKey> {
        let Ok(listed) = &self.shards else { return BTreeSet::new() };
        let ended = summary.streams.get(self.stream.key()).map(|stream| &stream.ended);
        let open = listed.shards.iter().filter(|shard| ended.is_none_or(|ended| !ended.contains(&shard.id)));
        open.map(|shard| self.chain(&shard.id)).collect()
    }

    fn chain(&self, shard: &str) -> ChainKey {
        let key = self.stream.key();
        ChainKey::of(&Shard { stream: key.into(), stream_key: key.into(), shard: shard.into() })
    }

    /// Ask every open shard. The chains must have been read between the list of shards and this: a
    /// record that arrived before the watermark is then in what was read.
    pub(super) async fn ask(&self, summary: &mut Summary, margin: i64) -> StreamMark {
        let name = self.stream.key().to_owned();
        let unknown = |problem: String| StreamMark {
            stream: name.clone(),
            watermark_us: None,
            shards: 0,
            holding: Vec::new(),
            problem: Some(problem),
        };
        let listed = match &self.shards {
            Ok(listed) => listed,
            Err(error) => return unknown(describe(error)),
        };
        let ended = summary.streams.entry(name.clone()).or_default().ended.clone();
        let open: Vec<_> = listed.shards.iter().filter(|shard| !ended.contains(&shard.id)).collect();
        let mut questions = Vec::new();
        for shard in &open {
            let committed = summary.find(&self.chain(&shard.id)).and_then(|chain| chain.max);
            // The mapping has gone past what it gave up on.
            let passed = self.given_up.iter().filter(|batch| batch.shard == shard.id).map(|batch| batch.last);
            questions.push(look(self.stream, shard, passed.max().max(committed)));
        }
        let looks: Vec<_> = stream::iter(questions).buffered(PARALLEL).collect().await;
        let mut watermark = listed.at;
        let mut holding = Vec::new();
        let mut problem = None;
        let known = summary.streams.entry(name.clone()).or_default();
        for (shard, look) in looks {
            match look {
                Ok(Look::Record { arrived }) => {
                    watermark = watermark.min(arrived);
                    let stuck = listed.at.0 - arrived.0 > limits::CLOSE_STUCK.as_micros() as i64;
                    let (stream, shard) = (name.clone(), shard.id.clone());
                    holding.push(HoldingShard { stream, shard, oldest_us: arrived, stuck });
                }
                Ok(Look::Nothing { at }) => watermark = watermark.min(at),
                // Only a closed shard can end; what it held is in the commits that were read.
                Ok(Look::Ended) => _ = known.ended.insert(shard.id.clone()),
                Err(error) => problem = Some(format!("shard {}: {}", shard.id, describe(&error))),
            }
        }
        holding.sort_by_key(|shard| shard.oldest_us);
        if let Some(held_back) = self.stream.held_back() {
            watermark = watermark.min(EpochMicros(listed.at.0 - held_back.as_micros() as i64));
        }
        let watermark_us = problem.is_none().then_some(EpochMicros(watermark.0 - margin));
        StreamMark { stream: name.clone(), watermark_us, shards: open.len() as u64, holding, problem }
    }
}

async fn look<'s>(
    stream: &dyn Stream,
    shard: &'s StreamShard,
    after: Option<SequenceNumber>,
) -> (&'s StreamShard, Result<Look>) {
    (shard, stream.first_after(&shard.id, after).await)
}

/// An error with its causes.
pub(super) fn describe(error: &crate::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
