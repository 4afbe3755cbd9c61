//! Closed partitions of a table of changes → the latest row of each item, in a table of its own
//! (docs/COMMIT_PROTOCOL.md, 'Current states').
//!
//! ```text
//! state n ──────────────────────┐
//! revisions that are not in it ─┴► plan n+1 ─► steps, by whoever comes ─► result n+1 ─► switch ─► collect
//! ```
//!
//! No state has an owner. The plan pins what goes in, and what a step writes depends on that alone; the
//! next plan is made on top of a result. So several runs may work on one state, and one that wakes up
//! late finds its objects there already. A switch back by one is repaired by each run.

mod chain;
mod objects;
mod reader;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use super::Closer;
use super::inventory::PARALLEL;
use super::report::Report;
use super::run::{Run, Session, again};
use super::summary::{Summary, Trouble, ViewState};
use super::watermark::describe;
use super::work::{shows, values};
use crate::catalog::Switch;
use crate::clock::EpochMicros;
use crate::compact::{Fold, FoldProgress, Input, Limits};
use crate::error::{Error, Result};
use crate::naming::closed::{self, CloseObject};
use crate::naming::compaction::{FINISHED, PLAN};
use crate::naming::current::{self, StateObject};
use crate::partition::PartitionPath;
use crate::schema::TableSchema;

use chain::StateChain;
use objects::{FoldedRevision, StatePlan, StateResult, get, settle};
pub(super) use reader::shown_files;

/// Partitions that go into one state; more go into the next.
const PARTITIONS_AT_ONCE: usize = 10_000;
/// After that long all closed partitions are looked through when a state is made, for those that runs
/// closed which did not know of the view.
const LOOK_THROUGH: Duration = Duration::from_secs(24 * 3_600);

/// A view of a table of changes, after a run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CurrentView {
    /// The table of changes.
    pub table: String,
    /// The table that holds its current state.
    pub view: String,
    /// The newest state; 0 if there is none.
    pub state: u32,
    /// Items in it.
    pub items: u64,
    /// Removed items that it remembers.
    pub removed: u64,
    /// States that this run has made.
    pub made: u32,
    /// Closed partitions, with revisions that are not in it.
    pub waiting: u64,
    /// Why it is not further.
    pub trouble: Option<Trouble>,
}

/// Views of the tables of a run, by table.
#[derive(Debug, Default)]
pub(super) struct Views(BTreeMap<String, Result<View>>);

#[derive(Debug)]
struct View {
    table: Arc<TableSchema>,
    name: String,
    chain: StateChain,
}

impl Views {
    /// Whether what revisions of a partition superseded may be deleted: no state will be made of it.
    pub(super) fn let_go(&self, table: &TableSchema, partition: &PartitionPath, revision: u32) -> bool {
        match self.0.get(&table.name) {
            None => table.current.is_none(),
            Some(Err(_)) => false,
            Some(Ok(view)) => {
                let pinned =
                    view.chain.planned.as_ref().is_some_and(|(_, p)| p.folds.contains_key(partition));
                !pinned && view.folded().is_some_and(|folded| folded.get(partition) >= Some(&revision))
            }
        }
    }
}

impl View {
    /// What is in the newest state, if its items are named as they are now.
    fn folded(&self) -> Option<&BTreeMap<PartitionPath, u32>> {
        let (_, newest) = self.chain.newest.as_ref()?;
        (newest.keys == self.table.keys).then_some(&newest.folded)
    }

    /// Partitions in the summary with revisions that are not in it.
    fn waiting(&self, summary: &Summary) -> BTreeMap<PartitionPath, u32> {
        let known = summary.tables.get(&self.table.name).into_iter().flatten();
        let done = known.map(|(partition, state)| (partition.clone(), state.revision));
        self.not_in_it(done)
    }

    fn not_in_it(&self, done: impl Iterator<Item = (PartitionPath, u32)>) -> BTreeMap<PartitionPath, u32> {
        let folded = self.folded();
        let is_in = |partition: &PartitionPath, revision: u32| {
            folded.and_then(|folded| folded.get(partition)).is_some_and(|known| *known >= revision)
        };
        let mut found: BTreeMap<PartitionPath, u32> = BTreeMap::new();
        for (partition, revision) in done.filter(|(partition, revision)| !is_in(partition, *revision)) {
            let newest = found.entry(partition).or_default();
            *newest = revision.max(*newest);
        }
        found
    }

    fn line(&self, summary: &Summary) -> CurrentView {
        let (items, removed) = self.chain.newest.as_ref().map_or((0, 0), |(_, state)| state.files.rows());
        CurrentView {
            table: self.table.name.clone(),
            view: self.name.clone(),
            state: self.chain.number(),
            items,
            removed,
            made: 0,
            waiting: self.waiting(summary).len() as u64,
            trouble: None,
        }
    }
}

impl Closer {
    /// The views of some tables as they stand.
    pub(super) async fn views(&self, tables: &BTreeMap<String, Arc<TableSchema>>) -> Views {
        let mut views = Views::default();
        for (name, table) in tables {
            let Some(view) = &table.current else { continue };
            let read = StateChain::read(&self.lake, view).await;
            let view = read.map(|chain| View { table: table.clone(), name: view.clone(), chain });
            views.0.insert(name.clone(), view);
        }
        views
    }

    /// How views stand, without changing anything.
    pub(super) fn look_at_views(views: &Views, summary: &Summary, report: &mut Report) {
        for (table, view) in &views.0 {
            match view {
                Ok(view) => {
                    let trouble = summary.views.get(table).and_then(|state| state.trouble.clone());
                    report.views.push(CurrentView { trouble, ..view.line(summary) });
                }
                Err(error) => _ = report.tables.insert(table.clone(), describe(error)),
            }
        }
    }

    /// Take in what is closed, view by view. One that fails keeps its reason and is left alone for a
    /// while; partitions and other views go on.
    pub(super) async fn keep_views(
        &self,
        (session, run): (&Session<'_>, &Run),
        views: Views,
        summary: &mut Summary,
        report: &mut Report,
    ) {
        for (table, view) in views.0 {
            let last = summary.views.remove(&table).and_then(|state| state.trouble);
            let paused =
                last.as_ref().is_some_and(|trouble| session.now < trouble.until && run.only.is_none());
            let (mut busy, mut made) = (true, 0);
            let (kept, line) = match view {
                Err(error) => (Err(error), None),
                Ok(mut view) => {
                    let before = view.chain.number();
                    let late = session.is_over();
                    report.out_of_time |= late;
                    let kept = match paused || late {
                        true => Ok(None),
                        false => self.keep(session, &mut view, summary).await,
                    };
                    made = view.chain.number() - before;
                    busy = !view.chain.uncollected.is_empty() || view.chain.planned.is_some();
                    (kept, Some(view.line(summary)))
                }
            };
            let trouble = match kept {
                _ if paused => last,
                // Steps that are left wait for nothing but the next run.
                Ok(reason) => {
                    reason.map(|reason| Trouble { until: session.now, ..again(last, reason, session.now) })
                }
                Err(error) => {
                    report.failures += 1;
                    Some(again(last, describe(&error), session.now))
                }
            };
            if busy || trouble.is_some() {
                summary.views.insert(table.clone(), ViewState { trouble: trouble.clone() });
            }
            match line {
                Some(line) => report.views.push(CurrentView { made, trouble, ..line }),
                None => _ = report.tables.insert(table, trouble.map(|t| t.reason).unwrap_or_default()),
            }
        }
    }

    /// One view as far as it goes; why it is not further.
    async fn keep(
        &self,
        session: &Session<'_>,
        view: &mut View,
        summary: &Summary,
    ) -> Result<Option<String>> {
        loop {
            if let Some((state, result)) = &view.chain.newest {
                self.show(session, &view.name, *state, &result.files.directory).await?;
            }
            let planned = match view.chain.planned.take() {
                Some(planned) => Some(planned),
                None => self.plan_state(session, view, summary).await?,
            };
            let Some((state, plan)) = planned else { break };
            let came = self.make_state(session, view, (state, &plan)).await;
            match came {
                Ok(Ok(result)) => {
                    view.chain.newest = Some((state, result));
                    view.chain.uncollected.push(state);
                }
                other => {
                    view.chain.planned = Some((state, plan));
                    return other.map(Result::err);
                }
            }
        }
        self.collect_states(session, view).await.map(|()| None)
    }

    /// The next state, if something is closed that the newest one lacks.
    async fn plan_state(
        &self,
        session: &Session<'_>,
        view: &View,
        summary: &Summary,
    ) -> Result<Option<(u32, StatePlan)>> {
        let table = &view.table.name;
        let newest = view.chain.newest.as_ref().filter(|(_, newest)| newest.keys == view.table.keys);
        let mut waiting = view.waiting(summary);
        let mut looked_through = newest.map_or(EpochMicros::default(), |(_, newest)| newest.looked_through);
        let stale = session.now.0 - looked_through.0 >= LOOK_THROUGH.as_micros() as i64;
        if newest.is_none() || (stale && !waiting.is_empty()) {
            waiting.extend(view.not_in_it(self.done_revisions(table).await?.into_iter()));
            looked_through = session.now;
        }
        if waiting.is_empty() {
            return Ok(None);
        }
        if waiting.len() > PARTITIONS_AT_ONCE {
            looked_through = EpochMicros::default();
        }
        let reads = waiting.into_iter().take(PARTITIONS_AT_ONCE).map(|(partition, revision)| async move {
            let result = super::reader::result(&self.lake, table, &partition, revision).await?;
            let (directory, files) = (result.directory, result.files);
            Ok::<_, Error>((partition, FoldedRevision { revision, directory, files }))
        });
        let reads: Vec<_> = reads.collect();
        let folds = stream::iter(reads).buffered(PARALLEL).try_collect().await?;
        let plan = StatePlan {
            format: super::objects::format(),
            nonce: session.id.to_owned(),
            keys: view.table.keys.clone(),
            on_top: newest.is_some(),
            folds,
            looked_through,
        };
        session.still()?;
        let state = view.chain.number() + 1;
        Ok(Some((state, settle(&self.lake, &view.name, state, plan).await?)))
    }

    /// Newest done revisions of a table's partitions.
    async fn done_revisions(&self, table: &str) -> Result<Vec<(PartitionPath, u32)>> {
        let keys = self.lake.list(&format!("{}/{table}", closed::CLOSE)).await?;
        let done = keys.iter().filter_map(|key| match closed::parse_close(key)? {
            (_, partition, revision, CloseObject::Done) => Some((partition, revision)),
            _ => None,
        });
        Ok(done.collect())
    }

    /// The state that a plan pins, or why it is not made yet.
    async fn make_state(
        &self,
        session: &Session<'_>,
        view: &View,
        (state, plan): (u32, &StatePlan),
    ) -> Result<Result<StateResult, String>> {
        let name = &view.name;
        if let Some(result) = get::<StateResult>(&self.lake, name, state).await? {
            return Ok(Ok(result));
        }
        if session.is_over() {
            return Ok(Err(format!("no time was left for state {state}")));
        }
        let schema = self.view_table(view).await?;
        let base = view.chain.newest.as_ref().filter(|_| plan.on_top).map(|(_, base)| base);
        let inputs: Vec<Input> = plan.folds.values().flat_map(FoldedRevision::inputs).collect();
        let (directory, removed, work) = folders(name, state, &plan.nonce);
        let fold = Fold {
            schema: &schema,
            keys: &plan.keys,
            base: base.map(|base| &base.files),
            inputs: &inputs,
            directory: &directory,
            removed: &removed,
            work: &work,
            scratch: &self.settings.scratch,
            limits: Limits::default(),
            until: session.until,
        };
        let files = match self.compact.fold(&self.lake, &*self.clock, &fold).await? {
            FoldProgress::Finished(files) => files,
            FoldProgress::Unfinished { done, of } => {
                return Ok(Err(format!("state {state}: {done} of {of} steps are done")));
            }
        };
        let mut folded = base.map_or_else(BTreeMap::new, |base| base.folded.clone());
        folded.extend(plan.folds.iter().map(|(partition, fold)| (partition.clone(), fold.revision)));
        let (keys, looked_through) = (plan.keys.clone(), plan.looked_through);
        let result = StateResult { format: super::objects::format(), files, folded, keys, looked_through };
        session.still()?;
        settle(&self.lake, name, state, result).await.map(Ok)
    }

    /// The table of the view as it is now.
    async fn view_table(&self, view: &View) -> Result<Arc<TableSchema>> {
        let (name, table) = (&view.name, &view.table.name);
        let schema = self.catalog.table(name).await?;
        if schema.current_of.as_ref() == Some(table) {
            return Ok(schema);
        }
        let problem = format!(
            "`weir.current` of {table} names it, but it is not made for that (`weir.current_of`); run `weir tables \
             apply`, or give `weir.current` another name"
        );
        Err(Error::Schema { table: name.clone(), problem })
    }

    /// The catalog shows the state, or a newer one, or is made to.
    async fn show(&self, session: &Session<'_>, view: &str, state: u32, directory: &str) -> Result<()> {
        let values = values(&current::snapshot());
        let entry = self.catalog.partition(view, &values).await?;
        if entry.as_ref().is_some_and(|entry| shows(entry, state, directory)) {
            return Ok(());
        }
        session.still()?;
        let to = Switch { directory: directory.to_owned(), revision: state };
        let entry = self.catalog.repair_partition(view, &values, &to).await?;
        if shows(&entry, state, directory) {
            return Ok(());
        }
        let location = &entry.storage_descriptor.location;
        let problem = format!("state {state} is in {directory}, the catalog shows {location}");
        Err(Error::Format { object: view.to_owned(), problem, retryable: true })
    }

    /// Delete the files of states before, where the ones after them are older than the grace. The
    /// catalog shows the newest.
    async fn collect_states(&self, session: &Session<'_>, view: &mut View) -> Result<()> {
        let grace = self.settings.grace.as_micros() as i64;
        let name = &view.name;
        while let Some(&state) = view.chain.uncollected.first() {
            let made_at = self.lake.modified(&current::object(name, state, StateObject::Result)).await?;
            if made_at.is_none_or(|at| session.now.0 - at.0 < grace) {
                return Ok(());
            }
            let mut keys = Vec::new();
            if state > 1
                && let Some(before) = get::<StateResult>(&self.lake, name, state - 1).await?
            {
                keys.extend(before.files.keys());
            }
            if let Some(plan) = get::<StatePlan>(&self.lake, name, state).await? {
                let (_, _, work) = folders(name, state, &plan.nonce);
                keys.extend([PLAN, FINISHED].map(|left| format!("{work}/{left}")));
            }
            for key in keys {
                session.still()?;
                self.lake.delete(&key).await?;
            }
            let key = current::object(name, state, StateObject::Collected);
            let _ = self.lake.put_if_absent(&key, bytes::Bytes::from_static(b"{}\n")).await?;
            view.chain.uncollected.remove(0);
        }
        Ok(())
    }
}

impl FoldedRevision {
    fn inputs(&self) -> impl Iterator<Item = Input> + '_ {
        self.files.iter().map(|file| Input {
            key: format!("{}/{}", self.directory, file.name),
            rows: file.rows,
            bytes: file.bytes,
        })
    }
}

/// Folders of a state: for readers, for removals, for its steps.
fn folders(view: &str, state: u32, nonce: &str) -> (String, String, String) {
    let directory = current::directory(view, state, nonce);
    (directory, current::removed(view, state, nonce), current::work(view, state, nonce))
}

/// What tests look into.
#[cfg(test)]
pub(super) mod tests_of_states {
    use super::*;
    use crate::commit::LakeStore;

    /// Partitions and revisions that are in a state.
    pub(in crate::close) async fn folded(
        lake: &LakeStore,
        view: &str,
        state: u32,
    ) -> Vec<(PartitionPath, u32)> {
        let result = get::<StateResult>(lake, view, state).await.unwrap().unwrap();
        result.folded.into_iter().collect()
    }
}
