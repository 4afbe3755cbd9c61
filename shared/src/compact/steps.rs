//! A plan → its steps, each done once by whoever comes first, until all are done or time is over.

use super::copies::{self, Losers};
use super::order::Rules;
use super::output::rows_differ;
use super::part::{self, PartDone};
use super::plan::Plan;
use super::source::wrong;
use super::split::{self, SplitDone};
use super::work::WorkFolder;
use super::{Compacted, CompactedFile, Compaction, Progress};
use crate::clock::{Clock, EpochMicros};
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::commit::store::Put;
use crate::error::Result;
use crate::naming::compaction::{FINISHED, Task};

/// Bytes a second that a step gets through on the slowest machine that is thought of, and how long it
/// takes with none.
pub(super) const BYTES_A_SECOND: u64 = 4 << 20;
pub(super) const STEP_SECONDS: u64 = 15;

/// One invocation's work on a compaction.
pub(super) struct Steps<'a> {
    pub(super) lake: &'a LakeStore,
    pub(super) clock: &'a dyn Clock,
    pub(super) compaction: &'a Compaction<'a>,
    pub(super) layout: &'a Layout,
}

/// What came of it, as it is stored.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Finished {
    files: Vec<CompactedFile>,
    rows_read: u64,
    rows_removed: u64,
}

impl Finished {
    fn progress(self) -> Progress {
        let Self { files, rows_read, rows_removed } = self;
        Progress::Finished(Compacted { files, rows_read, rows_removed })
    }
}

impl Steps<'_> {
    /// Do what is left, as far as time allows.
    pub(super) async fn run(&self) -> Result<Progress> {
        if let Some(finished) = self.at_once().await? {
            return Ok(finished);
        }
        let mut pinned: Option<(Plan, Rules)> = None;
        loop {
            let done = self.folder().names().await?;
            if done.contains(FINISHED) {
                self.folder().sweep(&done).await?;
                return self
                    .finished()
                    .await?
                    .ok_or_else(|| wrong(self.compaction.work, "it is gone".into()));
            }
            let (plan, rules) = match &pinned {
                Some(pinned) => pinned,
                None => pinned.insert(self.plan().await?),
            };
            let all = plan.stages();
            let of = all.iter().map(Vec::len).sum();
            let is_done = |task: &Task| done.contains(&marker(*task));
            let count = all.iter().flatten().filter(|task| is_done(task)).count();
            let stage = all.iter().map(|stage| stage.iter().copied().filter(|task| !is_done(task)));
            let Some(left) = stage.map(Vec::from_iter).find(|left| !left.is_empty()) else {
                self.unless_finished(self.finish_marked(plan).await).await?;
                continue;
            };
            // Runners that began at different times begin with different steps.
            let now = self.clock.now();
            let task = left[(now.0.unsigned_abs() / 1_000 % left.len() as u64) as usize];
            if self.ends(now, plan) > self.compaction.until {
                return Ok(Progress::Unfinished { done: count, of });
            }
            self.unless_finished(self.step(plan, rules, task).await).await?;
        }
    }

    /// All of it, where it is one step that nobody has begun: then there is nothing to look for, and
    /// nothing to leave for others but what came of it.
    async fn at_once(&self) -> Result<Option<Progress>> {
        let plan = Plan::of_one_step(self.compaction)
            .filter(|plan| self.ends(self.clock.now(), plan) <= self.compaction.until);
        let Some(plan) = plan else { return Ok(None) };
        if plan.pin(self.lake, self.compaction).await? == Put::Exists {
            return Ok(None);
        }
        let rules = self.rules(&plan)?;
        let (lake, compaction, layout) = (self.lake, self.compaction, self.layout);
        let done = part::part(lake, compaction, layout, (&plan, &rules), (0, &[])).await;
        let finished = match done {
            Ok(done) => self.finish(&plan, vec![done]).await,
            Err(error) => Err(error),
        };
        match finished {
            Ok(Some(finished)) => Ok(Some(finished)),
            // Another runner was faster.
            Ok(None) => self.finished().await,
            Err(error) => Ok(Some(self.finished().await?.ok_or(error)?)),
        }
    }

    async fn plan(&self) -> Result<(Plan, Rules)> {
        let plan = Plan::of(self.lake, self.compaction, self.layout).await?;
        let rules = self.rules(&plan)?;
        Ok((plan, rules))
    }

    fn rules(&self, plan: &Plan) -> Result<Rules> {
        Rules::of(self.layout, &plan.sort, &plan.dedupe_key)
    }

    /// An error is none if another runner has finished meanwhile, and deleted what this one was at.
    async fn unless_finished(&self, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if self.finished().await?.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// When a step that begins now will have ended.
    fn ends(&self, now: EpochMicros, plan: &Plan) -> EpochMicros {
        let bytes: u64 = self.compaction.inputs.iter().map(|input| input.bytes).sum();
        let steps = plan.parts.len().max(2) as u64 - 1;
        let seconds = STEP_SECONDS + bytes / steps / BYTES_A_SECOND;
        EpochMicros(now.0.saturating_add(seconds as i64 * 1_000_000))
    }

    async fn step(&self, plan: &Plan, rules: &Rules, task: Task) -> Result<()> {
        let (lake, compaction, layout) = (self.lake, self.compaction, self.layout);
        match task {
            Task::Keys(group) => copies::keys(lake, compaction, layout, (plan, rules), group).await,
            Task::Losers(share) => copies::losers(lake, compaction.work, plan, share).await,
            Task::Split(group) => {
                let done = split::split(lake, compaction, layout, (plan, rules), group).await?;
                self.folder().put(&task.marker(), &done).await.map(drop)
            }
            Task::Part(number) => {
                let splits = self.splits(plan).await?;
                let done = part::part(lake, compaction, layout, (plan, rules), (number, &splits)).await?;
                self.folder().put(&task.marker(), &done).await.map(drop)
            }
        }
    }

    async fn finish_marked(&self, plan: &Plan) -> Result<()> {
        let mut parts = Vec::new();
        for number in 0..plan.parts.len() as u32 - 1 {
            parts.push(self.folder().marked(Task::Part(number)).await?);
        }
        self.finish(plan, parts).await.map(drop)
    }

    /// All steps are done: count, and keep the sum of it. None if another runner has kept his.
    async fn finish(&self, plan: &Plan, parts: Vec<PartDone>) -> Result<Option<Progress>> {
        let directory = self.compaction.directory;
        let splits = self.splits(plan).await?;
        let (mut files, mut read, mut removed) = (Vec::new(), 0, 0);
        for (done, number) in parts.into_iter().zip(0..) {
            let number: u32 = number;
            let written: u64 = done.files.iter().map(|file| file.rows).sum();
            if written + done.rows_removed != done.rows_read {
                let what = format!("part {number}");
                return Err(rows_differ(directory, &what, done.rows_read - done.rows_removed, written));
            }
            files.extend(done.files);
            (read, removed) = (read + done.rows_read, removed + done.rows_removed);
        }
        if plan.split {
            let parted: u64 = splits.iter().map(|split| split.rows_read).sum();
            let left_out: u64 = splits.iter().map(|split| split.rows_removed).sum();
            if read + left_out != parted {
                return Err(rows_differ(directory, "parted rows", parted - left_out, read));
            }
            (read, removed) = (parted, removed + left_out);
        }
        let expected: u64 = self.compaction.inputs.iter().map(|input| input.rows).sum();
        if read != expected {
            return Err(rows_differ(directory, "rows of all inputs", expected, read));
        }
        if plan.shares > 0 {
            let losers = Losers::count(self.lake, self.compaction.work, plan).await?;
            if losers != removed {
                return Err(rows_differ(directory, "copies by weir.dedupe_key", losers, removed));
            }
        }
        let finished = Finished { files, rows_read: read, rows_removed: removed };
        let put = self.folder().put(FINISHED, &finished).await?;
        Ok((put == Put::Created).then(|| finished.progress()))
    }

    async fn finished(&self) -> Result<Option<Progress>> {
        let finished: Option<Finished> = self.folder().get(FINISHED).await?;
        Ok(finished.map(Finished::progress))
    }

    fn folder(&self) -> WorkFolder<'_> {
        WorkFolder { lake: self.lake, path: self.compaction.work }
    }

    async fn splits(&self, plan: &Plan) -> Result<Vec<SplitDone>> {
        let mut splits = Vec::new();
        if plan.split {
            for group in 0..plan.groups.len() as u32 - 1 {
                splits.push(self.folder().marked(Task::Split(group)).await?);
            }
        }
        Ok(splits)
    }
}

/// What shows that a step is done: what it left for others, or that it says so.
fn marker(task: Task) -> String {
    match task {
        Task::Keys(_) | Task::Losers(_) => task.name(),
        Task::Split(_) | Task::Part(_) => task.marker(),
    }
}
