//! A plan of a state → its steps, each done once by whoever comes first, until all are done or time
//! is over.

use super::super::output::rows_differ;
use super::super::plan::GROUP_BYTES;
use super::super::source::wrong;
use super::super::split::{SplitDone, Splitting};
use super::super::steps::{BYTES_A_SECOND, STEP_SECONDS};
use super::super::work::WorkFolder;
use super::last;
use super::part::{self, PartDone, Tables};
use super::plan::FoldPlan;
use super::{Fold, FoldProgress, StateFiles};
use crate::clock::{Clock, EpochMicros};
use crate::commit::LakeStore;
use crate::error::Result;
use crate::naming::compaction::{FINISHED, Task};

/// One invocation's work on a state.
pub(super) struct Steps<'a> {
    lake: &'a LakeStore,
    clock: &'a dyn Clock,
    fold: &'a Fold<'a>,
    tables: Tables<'a>,
    folder: WorkFolder<'a>,
}

impl<'a> Steps<'a> {
    pub(super) fn of(lake: &'a LakeStore, clock: &'a dyn Clock, fold: &'a Fold<'a>) -> Result<Self> {
        let folder = WorkFolder { lake, path: fold.work };
        Ok(Self { lake, clock, fold, tables: Tables::of(fold)?, folder })
    }

    /// Do what is left, as far as time allows.
    pub(super) async fn run(&self) -> Result<FoldProgress> {
        let mut pinned: Option<FoldPlan> = None;
        loop {
            let done = self.folder.names().await?;
            if done.contains(FINISHED) {
                self.folder.sweep(&done).await?;
                let gone = || wrong(self.fold.work, "it is gone".into());
                return Ok(FoldProgress::Finished(self.finished().await?.ok_or_else(gone)?));
            }
            let plan = match &pinned {
                Some(pinned) => pinned,
                None => pinned.insert(FoldPlan::of(&self.folder, self.fold).await?),
            };
            let all = plan.stages();
            let of = all.iter().map(Vec::len).sum();
            let is_done = |task: &Task| done.contains(&task.marker());
            let count = all.iter().flatten().filter(|task| is_done(task)).count();
            let stage = all.iter().map(|stage| stage.iter().copied().filter(|task| !is_done(task)));
            let Some(left) = stage.map(Vec::from_iter).find(|left| !left.is_empty()) else {
                self.unless_finished(self.finish(plan).await).await?;
                continue;
            };
            // Runners that began at different times begin with different steps.
            let now = self.clock.now();
            let task = left[(now.0.unsigned_abs() / 1_000 % left.len() as u64) as usize];
            if self.ends(now, plan) > self.fold.until {
                return Ok(FoldProgress::Unfinished { done: count, of });
            }
            self.unless_finished(self.step(plan, task).await).await?;
        }
    }

    /// An error is none if another runner has finished meanwhile, and deleted what this one was at.
    async fn unless_finished(&self, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if self.finished().await?.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// When a step that begins now will have ended: files of a part are read twice, and a part of
    /// fewer ones before is read whole.
    fn ends(&self, now: EpochMicros, plan: &FoldPlan) -> EpochMicros {
        let parts = self.fold.base.map_or(&[][..], |base| &base.parts);
        let files = parts.iter().flat_map(|part| part.files.iter().chain(&part.removed));
        let before: u64 = files.map(|file| file.bytes).sum();
        let new: u64 = self.fold.inputs.iter().map(|input| input.bytes).sum();
        let of = u64::from(plan.parts);
        let part = 2 * (before / (parts.len() as u64).clamp(1, of) + new / of);
        let bytes = part.max(new.min(GROUP_BYTES));
        let seconds = STEP_SECONDS + bytes / BYTES_A_SECOND;
        EpochMicros(now.0.saturating_add(seconds as i64 * 1_000_000))
    }

    async fn step(&self, plan: &FoldPlan, task: Task) -> Result<()> {
        let Tables { layout, places, .. } = &self.tables;
        match task {
            Task::Split(group) => {
                let splitting = Splitting {
                    lake: self.lake,
                    layout,
                    inputs: self.fold.inputs,
                    work: self.fold.work,
                    group,
                    most: (self.fold.limits.memory / 6) as usize,
                };
                // Of a key only the last change of what is parted at once goes on: an item that is
                // changed all the time does not make its part a large one.
                let parted = splitting.run(plan.group(group), |loaded| {
                    let parted = last::parted(loaded, places, plan.parts);
                    parted.map_err(|problem| wrong(self.fold.work, problem))
                });
                self.folder.put(&task.marker(), &parted.await?).await.map(drop)
            }
            Task::Part(part) => {
                let splits = self.splits(plan).await?;
                let done = part::part(self.lake, &self.tables, (part, plan.parts), &splits).await?;
                self.folder.put(&task.marker(), &done).await.map(drop)
            }
            Task::Keys(_) | Task::Losers(_) => Ok(()),
        }
    }

    /// All steps are done: count, keep the sum of it, delete the rest.
    async fn finish(&self, plan: &FoldPlan) -> Result<()> {
        let splits = self.splits(plan).await?;
        let mut parts = Vec::new();
        let mut read = 0;
        for number in 0..plan.parts {
            let done: PartDone = self.folder.marked(Task::Part(number)).await?;
            read += done.rows_read;
            parts.push(done.part);
        }
        let before = self.fold.base.map_or(0, |base| base.rows().0 + base.rows().1);
        let new: u64 = self.fold.inputs.iter().map(|input| input.rows).sum();
        let older: u64 = splits.iter().map(|split| split.rows_removed).sum();
        if read + older != before + new {
            return Err(rows_differ(self.fold.directory, "rows of all inputs", before + new, read + older));
        }
        if parts.iter().all(|part| part.files.is_empty())
            && let Some(first) = parts.first_mut()
        {
            first.files = self.tables.without_rows(self.lake).await?.files;
        }
        let (directory, removed) = (self.fold.directory.to_owned(), self.fold.removed.to_owned());
        self.folder.put(FINISHED, &StateFiles { directory, removed, parts }).await.map(drop)
    }

    async fn finished(&self) -> Result<Option<StateFiles>> {
        self.folder.get(FINISHED).await
    }

    async fn splits(&self, plan: &FoldPlan) -> Result<Vec<SplitDone>> {
        let mut splits = Vec::new();
        for task in &plan.stages()[0] {
            splits.push(self.folder.marked(*task).await?);
        }
        Ok(splits)
    }
}
