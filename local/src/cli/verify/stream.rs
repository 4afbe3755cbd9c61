//! A stream behind an endpoint, shard by shard, against the chains of the lake.

use std::path::Path;

use anyhow::{Context, Result};

use weir::naming::{ChainKey, stream_key};
use weir::record::{SequenceNumber, Shard};
use weir::verify::{ChainReport, Compared, Finding, Kind, Sink, StreamComparison, Verifier};

use crate::cli::lake::{is_here, kinesis};
use crate::runtime::poller::kinesis::{From, Kinesis};

/// Most records of one GetRecords (a quota of Kinesis).
const RECORDS: usize = 10_000;
/// Empty answers in a row after which a shard counts as read, while it says that it is behind.
const EMPTY_ANSWERS: usize = 100;

pub(super) struct Stream {
    kinesis: Kinesis,
    name: String,
    /// Shards as the lake names them, and their ids.
    shards: Vec<(ChainKey, String)>,
    seen: Vec<String>,
}

impl Stream {
    /// The stream of that endpoint, in the incarnation that the state folder names.
    pub(super) async fn open(endpoint: &str, name: &str, state: &Path) -> Result<Self> {
        let kinesis = kinesis(endpoint)?;
        let described = kinesis.describe(name).await;
        let described = described.with_context(|| format!("could not reach stream {name} at {endpoint}"))?;
        let file = state.join("stream-identity");
        let kept = match std::fs::read_to_string(&file) {
            // A deployed function asks the stream when it was made.
            Err(_) if !is_here(endpoint) => {
                Ok(format!("{:.0}", described.stream_creation_timestamp * 1_000.0))
            }
            kept => kept,
        };
        let identity = kept.with_context(|| {
            format!("could not read {}, which tells the stream from others of its name; give the state folder of `weir up` with --state", file.display())
        })?;
        let key = stream_key(name, &format!("{}{identity}", described.stream_arn));
        let shards = kinesis.list_shards(name).await?.into_iter().map(|shard| {
            let id = shard.shard_id;
            let shard =
                Shard { stream: name.into(), stream_key: key.as_str().into(), shard: id.as_str().into() };
            (ChainKey::of(&shard), id)
        });
        let shards = shards.collect();
        Ok(Self { kinesis, name: name.to_owned(), shards, seen: Vec::new() })
    }

    /// The shard that a chain is of; none if it is of another stream.
    pub(super) fn shard_of(&self, chain: &ChainKey) -> Option<String> {
        self.shards.iter().find(|(key, _)| key == chain).map(|(_, id)| id.clone())
    }

    /// Every record that the shard still holds.
    pub(super) async fn compare(
        &mut self,
        shard: &str,
        report: ChainReport,
        verifier: &mut Verifier,
        sink: &mut Sink<'_>,
    ) -> Result<Compared> {
        self.seen.push(shard.to_owned());
        let mut comparison = StreamComparison::new(verifier, report);
        let mut at = Some(self.kinesis.iterator(&self.name, shard, &From::TrimHorizon).await?);
        let mut empty = 0;
        while let Some(iterator) = at {
            let got = self.kinesis.get_records(&iterator, RECORDS).await?;
            let numbers = got.records.iter().map(|record| record.sequence_number.parse());
            let numbers: Vec<SequenceNumber> = numbers.collect::<Result<_, _>>()?;
            comparison.records(verifier, &numbers).await?;
            empty = if numbers.is_empty() { empty + 1 } else { 0 };
            let read = numbers.is_empty() && (got.millis_behind_latest == 0 || empty > EMPTY_ANSWERS);
            at = got.next_shard_iterator.filter(|_| !read);
        }
        Ok(comparison.finish(verifier, sink).await?)
    }

    /// Shards that hold records and have no chain yet: all of them wait.
    pub(super) async fn without_commits(
        &self,
        verifier: &mut Verifier,
        sink: &mut Sink<'_>,
    ) -> Result<Vec<Compared>> {
        let mut all = Vec::new();
        for (key, shard) in self.shards.iter().filter(|(_, id)| !self.seen.contains(id)) {
            let iterator = self.kinesis.iterator(&self.name, shard, &From::TrimHorizon).await?;
            let records = self.kinesis.get_records(&iterator, RECORDS).await?.records.len() as u64;
            if records == 0 {
                continue;
            }
            all.push(Compared { records, waiting: records, ..Compared::default() });
            let problem = format!("the shard holds records ({records} read) and nothing of it is committed");
            let way_out = "is the function running? see `weir status`";
            verifier.report(Finding::new(Kind::MissingRange, key.prefix(), problem, way_out), sink);
        }
        Ok(all)
    }
}
