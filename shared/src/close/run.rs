//! One run of close over a lake: what is new in the chains, up to when streams are committed, and
//! every partition that is ready a step further. A partition that fails keeps its reason and is
//! left alone for a while; the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};

use super::Closer;
use super::batch::{Candidate, batches};
use super::current::Views;
use super::inventory::{self, Found, LiveFile, catch_up};
use super::objects::Why;
use super::period::period_of;
use super::report::{Report, open_partitions};
use super::stream::GivenUpRange;
use super::summary::{Summary, Trouble};
use super::watermark::{Listed, StreamMark, describe};
use super::work::{Came, Pending, Work, values};
use crate::clock::{Clock, EpochMicros};
use crate::commit::LakeStore;
use crate::error::{Error, Result};
use crate::limits;
use crate::naming::{QUARANTINE_TABLE, closed};
use crate::partition::PartitionPath;
use crate::schema::TableSchema;

/// Partitions that are worked on side by side: each is a dozen requests, one after the other. What
/// their compactions take together is bounded beside this.
const PARTITIONS_AT_ONCE: usize = 80;
/// First pause of a partition that failed; it doubles up to the last.
const FIRST_PAUSE_US: i64 = 10_000_000;
const LAST_PAUSE_US: i64 = 3_600_000_000;

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Unique to the run, in `[a-z0-9-]`: owner, and name of directories.
    pub id: String,
    /// Nothing is begun that would not end by then.
    pub until: EpochMicros,
    /// By hand: only this table, and this partition now, complete or not.
    pub only: Option<(String, Option<PartitionPath>)>,
}

/// What the steps of a run share.
pub(super) struct Session<'a> {
    pub(super) id: &'a str,
    pub(super) until: EpochMicros,
    /// By the services' clocks, for leases and graces.
    pub(super) now: EpochMicros,
    /// By our own, to notice that the process was asleep.
    began: EpochMicros,
    clock: &'a dyn Clock,
}

impl Session<'_> {
    /// An error once the run is older than a run can be: another one may have taken over.
    pub(super) fn still(&self) -> Result<()> {
        let age = self.clock.now().0 - self.began.0;
        if age < limits::CLOSE_RUN.as_micros() as i64 {
            return Ok(());
        }
        let problem = format!("the run is {} s old; a later one goes on", age / 1_000_000);
        Err(Error::Format { object: format!("run {}", self.id), problem, retryable: true })
    }

    /// Whether no time is left to begin anything.
    pub(super) fn is_over(&self) -> bool {
        self.clock.now() >= self.until || self.still().is_err()
    }
}

/// What a run knows before it does anything.
struct Survey {
    now: EpochMicros,
    summary: Summary,
    report: Report,
    tables: BTreeMap<String, Arc<TableSchema>>,
    found: Found,
    given_up: Vec<GivenUpRange>,
}

/// What became of it.
struct Worked {
    table: String,
    partition: PartitionPath,
    /// None if no time was left to look at it.
    came: Option<Result<Came>>,
    collected: Option<u64>,
}

impl Closer {
    /// One run.
    ///
    /// # Errors
    /// The lake cannot be read. What goes wrong with a stream or a partition is in the report.
    pub async fn run(&self, run: &Run) -> Result<Report> {
        let began = self.clock.now();
        let mut survey = self.survey(run, true).await?;
        let session = Session { id: &run.id, until: run.until, now: survey.now, began, clock: &*self.clock };
        let Survey { summary, report, tables, found, given_up, .. } = &mut survey;
        self.register(tables, &found.new, report).await;
        let views = self.views(tables).await;
        let strayed = self.strayed(&run.id, tables, summary, report).await;
        let ready = self.candidates(run, tables, summary, report, (&session, &strayed));
        for batch in batches(ready) {
            if session.is_over() {
                report.out_of_time = true;
                break;
            }
            self.work(&session, (summary, report), batch, (given_up, &views)).await?;
        }
        self.keep_views((&session, run), views, summary, report).await;
        let Survey { mut summary, mut report, tables, found, .. } = survey;
        report.open = open_partitions(self, &tables, &summary, &report);
        report.summary_saved = summary.save(&self.lake).await?;
        report.summary_bytes = summary.stored_bytes();
        if report.summary_saved {
            self.lake.delete_all(&found.covered).await?;
        }
        Ok(report)
    }

    /// What a run would find, without changing anything.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn look(&self, run: &Run) -> Result<Report> {
        let Survey { summary, mut report, tables, .. } = self.survey(run, false).await?;
        Self::look_at_views(&self.views(&tables).await, &summary, &mut report);
        report.open = open_partitions(self, &tables, &summary, &report);
        Ok(report)
    }

    /// Shards, then chains, then what the streams hold beyond them: in this order, so that nothing
    /// that arrived before the watermark is missed.
    async fn survey(&self, run: &Run, ask_store: bool) -> Result<Survey> {
        let known = Summary::newest(&self.lake).await?;
        let is_new = known.is_none();
        let mut summary = known.unwrap_or_default();
        let (listed, asked_at) = self.list_streams().await;
        let now = match asked_at {
            Some(at) => at,
            None if ask_store => service_time(&self.lake, &run.id).await?,
            None => self.clock.now(),
        };
        let open = listed.iter().flat_map(|stream| stream.open(&summary)).collect();
        let found = catch_up(&self.lake, &mut summary, &open).await?;
        if is_new {
            self.remember_closed(&mut summary).await?;
        }
        let mut report = Report { at_us: now, commits_read: found.commits, ..Report::default() };
        let margin = self.settings.margin.as_micros() as i64;
        for stream in &listed {
            report.streams.push(stream.ask(&mut summary, margin).await);
        }
        report.streams.extend(self.unknown_streams(&summary));
        let given_up = listed.into_iter().flat_map(|stream| stream.given_up).collect();
        let tables = self.tables(run, &summary, &mut report).await?;
        Ok(Survey { now, summary, report, tables, found, given_up })
    }

    async fn list_streams(&self) -> (Vec<Listed<'_>>, Option<EpochMicros>) {
        let lists: Vec<_> = self.streams.iter().map(|stream| Listed::of(&**stream)).collect();
        let listed: Vec<_> = stream::iter(lists).buffered(inventory::PARALLEL).collect().await;
        let at = listed.iter().filter_map(|stream| Some(stream.shards.as_ref().ok()?.at)).max();
        (listed, at)
    }

    /// Without a summary: partitions that were closed, to be watched and collected.
    async fn remember_closed(&self, summary: &mut Summary) -> Result<()> {
        for dated in self.lake.list_dated(closed::CLOSE).await? {
            let Some((table, partition, revision, object)) = closed::parse_close(&dated.key) else {
                continue;
            };
            let state = summary.tables.entry(table).or_default().entry(partition).or_default();
            match object {
                closed::CloseObject::Done if revision >= state.revision => {
                    (state.revision, state.done_at) = (revision, Some(dated.modified));
                }
                closed::CloseObject::Plan => state.underway = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Streams of the lake that nobody asks: their tables' partitions wait, visibly.
    fn unknown_streams(&self, summary: &Summary) -> Vec<StreamMark> {
        // Without its hash: a stream made again, or read by another consumer.
        let name = |key: &str| key.rsplit_once('-').map_or(key, |(name, _)| name).to_owned();
        let asked: BTreeSet<String> = self.streams.iter().map(|stream| name(stream.key())).collect();
        let unknown = summary.streams.iter().filter(|(key, state)| {
            !state.file
                && !state.tables.is_empty()
                && !asked.contains(&name(key))
                && !self.settings.ended_streams.contains(*key)
        });
        let mark = |(key, _): (&String, _)| StreamMark {
            stream: key.clone(),
            watermark_us: None,
            shards: 0,
            holding: Vec::new(),
            problem: Some(
                "it feeds the table and is not asked; name it, or say that it has ended".to_owned(),
            ),
        };
        unknown.map(mark).collect()
    }

    async fn tables(
        &self,
        run: &Run,
        summary: &Summary,
        report: &mut Report,
    ) -> Result<BTreeMap<String, Arc<TableSchema>>> {
        let mut tables = BTreeMap::new();
        let names: BTreeSet<&String> = summary.tables.keys().chain(summary.views.keys()).collect();
        for name in names.into_iter().filter(|name| *name != QUARANTINE_TABLE) {
            let asked = run.only.as_ref().is_none_or(|(only, _)| only == name);
            let ours = self.settings.tables.as_ref().is_none_or(|tables| tables.contains(name));
            if !asked || !ours {
                continue;
            }
            match self.catalog.table(name).await {
                Ok(table) if !table.partition_keys.is_empty() => _ = tables.insert(name.clone(), table),
                Ok(_) => {}
                Err(error) => _ = report.tables.insert(name.clone(), describe(&error)),
            }
        }
        Ok(tables)
    }

    /// Live partitions that no function registered. A catalog that refuses is tried again with the
    /// next new partition.
    async fn register(
        &self,
        tables: &BTreeMap<String, Arc<TableSchema>>,
        new: &BTreeMap<String, BTreeSet<PartitionPath>>,
        report: &mut Report,
    ) {
        for (table, partitions) in new.iter().filter(|(table, _)| tables.contains_key(*table)) {
            let values: Vec<_> = partitions.iter().map(values).collect();
            if let Err(error) = self.catalog.register_partitions(table, &values).await {
                report.tables.insert(table.clone(), describe(&error));
            }
        }
    }

    /// Partitions to work on, those longest over first.
    fn candidates(
        &self,
        run: &Run,
        tables: &BTreeMap<String, Arc<TableSchema>>,
        summary: &Summary,
        report: &Report,
        (session, strayed): (&Session<'_>, &BTreeSet<(String, PartitionPath)>),
    ) -> Vec<Candidate> {
        let grace = self.settings.grace.as_micros() as i64;
        let mut ready = Vec::new();
        for (name, table) in tables {
            let watermark = self.watermark(name, summary, report);
            for (partition, state) in summary.tables.get(name).into_iter().flatten() {
                let by_hand = run.only.as_ref().is_some_and(|(_, only)| only.as_ref() == Some(partition));
                if run.only.as_ref().is_some_and(|(_, only)| only.is_some()) && !by_hand {
                    continue;
                }
                let ends = self.complete_at(table, partition);
                let complete = ends.zip(watermark).is_some_and(|(ends, watermark)| ends <= watermark);
                let late = state.revision > 0 && !state.spans.is_empty();
                let paused = state.trouble.as_ref().is_some_and(|trouble| session.now < trouble.until);
                let open = !state.spans.is_empty() && complete;
                let over = state.done_at.is_some_and(|done| session.now.0 - done.0 >= grace);
                let strayed = over || strayed.contains(&(name.clone(), partition.clone()));
                if by_hand || (!paused && (open || late || state.underway || strayed)) {
                    let why = if by_hand && !complete { Why::ByHand } else { Why::Complete };
                    let (table, partition, state) = (table.clone(), partition.clone(), state.clone());
                    ready.push((ends, Candidate { table, partition, state, why }));
                }
            }
        }
        ready.sort_by(|a, b| (a.0, &a.1.partition).cmp(&(b.0, &b.1.partition)));
        ready.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// When the partition's period and its lateness are over; none without a time key.
    pub(super) fn complete_at(&self, table: &TableSchema, partition: &PartitionPath) -> Option<EpochMicros> {
        let least = self.streams.iter().map(|stream| stream.least_lateness()).max().unwrap_or_default();
        let lateness = table.allowed_lateness.max(least).as_micros() as i64;
        period_of(table, partition).map(|(_, end)| EpochMicros(end.0.saturating_add(lateness)))
    }

    /// Up to when everything of a table is committed: the least of the streams that feed it.
    pub(super) fn watermark(&self, table: &str, summary: &Summary, report: &Report) -> Option<EpochMicros> {
        let mut watermark = EpochMicros(report.at_us.0 - self.settings.margin.as_micros() as i64);
        for mark in report.streams.iter().filter(|mark| self.feeds(mark, table, summary)) {
            watermark = watermark.min(mark.watermark_us?);
        }
        Some(watermark)
    }

    pub(super) fn feeds(&self, mark: &StreamMark, table: &str, summary: &Summary) -> bool {
        self.streams.iter().any(|stream| stream.key() == mark.stream)
            || summary.streams.get(&mark.stream).is_some_and(|stream| stream.tables.contains(table))
    }

    async fn work(
        &self,
        session: &Session<'_>,
        (summary, report): (&mut Summary, &mut Report),
        batch: Vec<Candidate>,
        known: (&[GivenUpRange], &Views),
    ) -> Result<()> {
        let asked: Vec<_> = batch.iter().map(|c| (c.table.name.as_str(), &c.partition, &c.state)).collect();
        let files = inventory::files(&self.lake, summary, &asked).await?;
        let works = batch
            .into_iter()
            .zip(files)
            .map(|(candidate, files)| self.work_on(session, candidate, files, known));
        let mut works = stream::iter(works).buffer_unordered(PARTITIONS_AT_ONCE);
        while let Some(worked) = works.next().await {
            apply(summary, report, worked, session.now);
        }
        Ok(())
    }

    async fn work_on(
        &self,
        session: &Session<'_>,
        candidate: Candidate,
        files: Vec<LiveFile>,
        (given_up, views): (&[GivenUpRange], &Views),
    ) -> Worked {
        let Candidate { table, partition, state, why } = candidate;
        let mut collected = None;
        if session.is_over() {
            return Worked { table: table.name.clone(), partition, came: None, collected };
        }
        let work = Work::new(self, session, &table, &partition);
        let begins = period_of(&table, &partition).map(|(from, _)| from);
        let first = state.revision == 0 && !state.underway;
        let mut came = work.advance(Pending { files, first, why, begins, given_up }).await;
        let grace = self.settings.grace.as_micros() as i64;
        if let Ok(Came::AtRest { revision, .. }) = came
            && state.done_at.is_some_and(|done| session.now.0 - done.0 >= grace)
            && views.let_go(&table, &partition, revision)
        {
            match work.collect().await {
                Ok(done) => collected = done,
                Err(error) => came = Err(error),
            }
        }
        Worked { table: table.name.clone(), partition, came: Some(came), collected }
    }
}

/// What became of a partition, into the summary and the report.
fn apply(summary: &mut Summary, report: &mut Report, worked: Worked, now: EpochMicros) {
    let Worked { table, partition, came, collected } = worked;
    let Some(came) = came else {
        report.out_of_time = true;
        return;
    };
    let chains = std::mem::take(&mut summary.chains);
    if let Some(state) = summary.tables.get_mut(&table).and_then(|table| table.get_mut(&partition)) {
        let mut trouble = None;
        match came {
            Ok(Came::AtRest { revision, done_at, vector, directory }) => {
                state.cover(&chains, &vector);
                state.directory = directory;
                (state.revision, state.done_at, state.underway) = (revision, done_at, false);
                if let Some(deleted) = collected {
                    report.files_collected += deleted;
                    state.done_at = None;
                }
            }
            Ok(Came::Done { vector, directory, closed }) => {
                state.cover(&chains, &vector);
                state.directory = Some(directory);
                (state.revision, state.done_at, state.underway) = (closed.revision, Some(now), false);
                report.closed.push(*closed);
            }
            Ok(Came::Held { reason, .. }) => {
                state.underway = true;
                trouble = Some(reason);
            }
            Err(error) => {
                report.failures += 1;
                trouble = Some(describe(&error));
            }
        }
        let last = state.trouble.take();
        state.trouble = trouble.map(|reason| again(last, reason, now));
    }
    summary.chains = chains;
}

pub(super) fn again(last: Option<Trouble>, reason: String, now: EpochMicros) -> Trouble {
    let (tries, since) = last.map_or((1, now), |last| (last.tries.saturating_add(1), last.since));
    let pause = FIRST_PAUSE_US.saturating_mul(1 << tries.min(20).saturating_sub(1)).min(LAST_PAUSE_US);
    // The first pause is no pause: most moments are over by the next run.
    let pause = if tries == 1 { 0 } else { pause };
    Trouble { reason, tries, since, until: EpochMicros(now.0 + pause) }
}

/// The store's time: of an object put now.
async fn service_time(lake: &LakeStore, run: &str) -> Result<EpochMicros> {
    let key = closed::time_probe(run);
    let _ = lake.put_if_absent(&key, bytes::Bytes::from_static(b"\n")).await?;
    let at = lake.modified(&key).await?;
    lake.delete(&key).await?;
    at.ok_or_else(|| Error::Internal(format!("{key} was put and is gone")))
}
