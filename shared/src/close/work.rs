//! One revision of one partition: plan → compact → result → switch → actions → done, whatever of it
//! an earlier run has left (docs/COMMIT_PROTOCOL.md). Every object is created once; each step can be
//! repeated, and be done by several runs at once.

use std::collections::BTreeMap;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::inventory::LiveFile;
use super::objects::{
    ActionOutcome, Base, DoneRecord, Owner, Plan, RevisionResult, Started, Vector, Versioned, Why, decode,
    encode, format,
};
use super::run::Session;
use super::stream::GivenUpRange;
use super::{ActionCall, ActionState, Closer};
use crate::catalog::{Partition, Switch};
use crate::clock::EpochMicros;
use crate::commit::format::unreadable;
use crate::commit::store::Put;
use crate::compact::Progress;
use crate::error::{Error, Result};
use crate::limits;
use crate::naming::closed::{self, CloseObject, ClosePrefix};
use crate::partition::{NULL_PARTITION, PartitionPath};
use crate::schema::{CloseAction, TableSchema};

/// A revision that a run has finished.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClosedRevision {
    /// Table.
    pub table: String,
    /// Partition.
    pub partition: PartitionPath,
    /// Revision, from 1.
    pub revision: u32,
    /// Why it was made.
    pub why: Why,
    /// Rows that readers see.
    pub rows: u64,
    /// Of these or of the removed, rows that the revision before did not have.
    pub late_rows: u64,
    /// Rows that the dedupe key has left out.
    pub removed: u64,
    /// Records that the mapping gave up on.
    pub given_up: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What became of the actions.
    pub actions: Vec<ActionOutcome>,
}

/// How far a partition came.
#[derive(Debug)]
pub(super) enum Came {
    /// No revision is under way and nothing is new.
    AtRest { revision: u32, done_at: Option<EpochMicros>, vector: Vector, directory: Option<String> },
    /// The revision is done now.
    Done { vector: Vector, directory: String, closed: Box<ClosedRevision> },
    /// It goes on in a later run.
    Held { reason: String },
}

/// What a partition's folder holds, and when each object was put.
#[derive(Debug, Default)]
pub(super) struct State(BTreeMap<(u32, CloseObject), EpochMicros>);

impl State {
    pub(super) fn has(&self, revision: u32, object: &CloseObject) -> bool {
        self.at(revision, object).is_some()
    }
    pub(super) fn at(&self, revision: u32, object: &CloseObject) -> Option<EpochMicros> {
        self.0.get(&(revision, object.clone())).copied()
    }
    /// The newest planned revision; 0 if there is none.
    pub(super) fn planned(&self) -> u32 {
        self.0.keys().filter(|(_, object)| *object == CloseObject::Plan).map(|(r, _)| *r).max().unwrap_or(0)
    }
    /// The newest revision that is done; 0 if there is none.
    pub(super) fn done(&self) -> u32 {
        self.0.keys().filter(|(_, object)| *object == CloseObject::Done).map(|(r, _)| *r).max().unwrap_or(0)
    }
    fn newest_owner(&self, revision: u32) -> u32 {
        let owner = |(r, object): &(u32, CloseObject)| match object {
            CloseObject::Owner(k) if *r == revision => Some(*k),
            _ => None,
        };
        self.0.keys().filter_map(owner).max().unwrap_or(1)
    }
}

/// A revision that this run owns.
struct Lease {
    owner: u32,
    nonce: String,
}

/// Who works on a revision.
enum Ownership {
    Mine(Lease),
    /// Somebody who may be alive; the name of his directory.
    Other(String),
}

/// A partition that a run works on.
pub(super) struct Work<'a> {
    pub(super) closer: &'a Closer,
    pub(super) session: &'a Session<'a>,
    pub(super) table: &'a TableSchema,
    pub(super) partition: &'a PartitionPath,
    prefix: ClosePrefix,
}

/// What a new revision would be made of.
pub(super) struct Pending<'a> {
    pub(super) files: Vec<LiveFile>,
    /// Nothing of it is known to be planned.
    pub(super) first: bool,
    pub(super) why: Why,
    /// When the partition's period begins.
    pub(super) begins: Option<EpochMicros>,
    pub(super) given_up: &'a [GivenUpRange],
}

impl<'a> Work<'a> {
    pub(super) fn new(
        closer: &'a Closer,
        session: &'a Session<'a>,
        table: &'a TableSchema,
        partition: &'a PartitionPath,
    ) -> Self {
        let prefix = ClosePrefix::of(&table.name, partition);
        Self { closer, session, table, partition, prefix }
    }

    /// As far as it goes: an unfinished revision to its end, or a new one if files are new.
    pub(super) async fn advance(&self, pending: Pending<'_>) -> Result<Came> {
        // The put of the plan is the look: it is refused if there is one.
        if pending.first && !pending.files.is_empty() {
            let plan = self.plan_of(1, (Vector::default(), None), &pending.files, &pending, pending.begins);
            if self.put(1, &CloseObject::Plan, &plan).await? == Put::Created {
                return self.go_on(1, plan, State::default(), &pending.files).await;
            }
        }
        let state = self.state().await?;
        let planned = state.planned();
        if planned > 0 && !state.has(planned, &CloseObject::Done) {
            let plan = self.get(planned, &CloseObject::Plan).await?;
            return self.go_on(planned, plan, state, &pending.files).await;
        }
        let mut vector = Vector::default();
        let mut base = None;
        if planned > 0 {
            vector = self.get::<Plan>(planned, &CloseObject::Plan).await?.vector;
            let result: RevisionResult = self.get(planned, &CloseObject::Result).await?;
            self.reconcile(planned, &result).await?;
            let RevisionResult { directory, files, committed, removed, .. } = result;
            base = Some(Base { directory, files, committed, removed });
        }
        let new: Vec<_> =
            pending.files.iter().filter(|live| live.version > vector.of(&live.chain)).cloned().collect();
        if new.is_empty() {
            let done_at = state.at(planned, &CloseObject::Done);
            let directory = base.map(|base| base.directory);
            return Ok(Came::AtRest { revision: planned, done_at, vector, directory });
        }
        let since = match planned {
            0 => pending.begins,
            _ => state.at(planned, &CloseObject::Plan),
        };
        let (revision, plan) =
            (planned + 1, self.plan_of(planned + 1, (vector, base), &new, &pending, since));
        if self.put(revision, &CloseObject::Plan, &plan).await? == Put::Created {
            return self.go_on(revision, plan, state, &pending.files).await;
        }
        // Whose plan it is the next look tells: ours, also if the answer to our put was lost.
        let plan = self.get(revision, &CloseObject::Plan).await?;
        self.go_on(revision, plan, self.state().await?, &pending.files).await
    }

    /// A revision of what the one before holds and of new files.
    fn plan_of(
        &self,
        revision: u32,
        (mut vector, base): (Vector, Option<Base>),
        new: &[LiveFile],
        pending: &Pending<'_>,
        since: Option<EpochMicros>,
    ) -> Plan {
        new.iter().for_each(|live| vector.cover(&live.chain, live.version));
        let mut inputs: Vec<_> = new.iter().map(|live| live.file.clone()).collect();
        inputs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let given_up = pending.given_up.iter().filter(|batch| since.is_none_or(|since| batch.at > since));
        Plan {
            format: format(),
            owner: self.session.id.to_owned(),
            why: if revision == 1 { pending.why } else { Why::Late },
            vector,
            inputs,
            base,
            given_up: given_up.map(|batch| batch.records).sum(),
        }
    }

    /// The revision to its end. `state` is what there was after the plan was put, or, if this run put
    /// it, right before: nothing else of the revision can have been there then.
    async fn go_on(&self, revision: u32, plan: Plan, state: State, files: &[LiveFile]) -> Result<Came> {
        let lease = match self.own(revision, &plan, &state).await? {
            Ownership::Mine(lease) => lease,
            Ownership::Other(nonce) => {
                let mut reason = "another run works on it".to_owned();
                if !state.has(revision, &CloseObject::Result)
                    && let Progress::Unfinished { done, of } = self.compact(revision, &plan, &nonce).await?
                {
                    reason = format!("compaction: {done} of {of} steps are done");
                }
                return Ok(Came::Held { reason });
            }
        };
        let result = match self.result(revision, &plan, &lease, &state).await {
            Ok(Ok(result)) => result,
            Ok(Err(reason)) => {
                self.release(revision, &lease).await;
                return Ok(Came::Held { reason });
            }
            Err(error) => {
                // Of what was sent nothing can land but files of our own directory and the result.
                self.release(revision, &lease).await;
                return Err(error);
            }
        };
        // From here on an error leaves the lease as it is: a call under way may still take effect.
        self.reconcile(revision, &result).await?;
        let outcomes = self.start_actions(revision, &plan, &result, &state).await?;
        let superseded = files.iter().any(|live| live.version > plan.vector.of(&live.chain));
        if let Some(ActionOutcome { action, reason: Some(reason), .. }) =
            outcomes.iter().find(|outcome| outcome.run.is_none()).filter(|_| !superseded)
        {
            self.release(revision, &lease).await;
            return Ok(Came::Held { reason: format!("closed, but {action} is not started: {reason}") });
        }
        let done = DoneRecord { format: format(), actions: outcomes.clone() };
        let _ = self.put(revision, &CloseObject::Done, &done).await?;
        let closed = ClosedRevision {
            table: self.table.name.clone(),
            partition: self.partition.clone(),
            revision,
            why: plan.why,
            rows: result.rows(),
            late_rows: if revision == 1 { 0 } else { plan.new_rows() },
            removed: result.removed,
            given_up: plan.given_up,
            files: result.files.len() as u64,
            bytes: result.bytes(),
            actions: outcomes,
        };
        Ok(Came::Done { vector: plan.vector, directory: result.directory, closed: Box::new(closed) })
    }

    /// The last owner, if it is this run; or take over from one who has ended or cannot be alive.
    async fn own(&self, revision: u32, plan: &Plan, state: &State) -> Result<Ownership> {
        let k = state.newest_owner(revision);
        let (run, nonce, since) = if k == 1 {
            (plan.owner.clone(), plan.owner.clone(), state.at(revision, &CloseObject::Plan))
        } else {
            let owner: Owner = self.get(revision, &CloseObject::Owner(k)).await?;
            (owner.run, owner.nonce, state.at(revision, &CloseObject::Owner(k)))
        };
        if run == self.session.id {
            return Ok(Ownership::Mine(Lease { owner: k, nonce }));
        }
        let released = state.has(revision, &CloseObject::Released(k));
        let age = self.session.now.0 - since.unwrap_or(self.session.now).0;
        if !released && age <= limits::CLOSE_TAKE_OVER.as_micros() as i64 {
            return Ok(Ownership::Other(nonce));
        }
        // Who ended in order leaves a directory that can be gone on with.
        let nonce = if released { nonce } else { self.session.id.to_owned() };
        let owner = Owner { format: format(), run: self.session.id.to_owned(), nonce: nonce.clone() };
        let object = CloseObject::Owner(k + 1);
        if self.put(revision, &object, &owner).await? == Put::Exists
            && self.get::<Owner>(revision, &object).await?.run != self.session.id
        {
            return Ok(Ownership::Other(nonce));
        }
        Ok(Ownership::Mine(Lease { owner: k + 1, nonce }))
    }

    /// The directory that won, made if there is none; or why there is none yet.
    async fn result(
        &self,
        revision: u32,
        plan: &Plan,
        lease: &Lease,
        state: &State,
    ) -> Result<Result<RevisionResult, String>> {
        if state.has(revision, &CloseObject::Result) {
            return Ok(Ok(self.get(revision, &CloseObject::Result).await?));
        }
        let compacted = match self.compact(revision, plan, &lease.nonce).await? {
            Progress::Finished(compacted) => compacted,
            Progress::Unfinished { done, of } => {
                return Ok(Err(format!("compaction: {done} of {of} steps are done")));
            }
        };
        self.check(revision, plan, &compacted)?;
        let directory = self.directory(revision, &lease.nonce);
        let removed = plan.base.as_ref().map_or(0, |base| base.removed) + compacted.rows_removed;
        let (files, committed) = (compacted.files, plan.committed());
        let ours = RevisionResult { format: format(), directory, files, committed, removed };
        self.session.still()?;
        if self.put(revision, &CloseObject::Result, &ours).await? == Put::Created {
            return Ok(Ok(ours));
        }
        let winner: RevisionResult = self.get(revision, &CloseObject::Result).await?;
        if winner.directory != ours.directory {
            for file in &ours.files {
                self.closer.lake.delete(&format!("{}/{}", ours.directory, file.name)).await?;
            }
        }
        Ok(Ok(winner))
    }

    /// The catalog shows the revision, or is made to.
    async fn reconcile(&self, revision: u32, result: &RevisionResult) -> Result<()> {
        let (table, values) = (&self.table.name, values(self.partition));
        let _turn = turn(&self.closer.switching).await?;
        self.session.still()?;
        let to = Switch { directory: result.directory.clone(), revision };
        // The result is the only directory of its revision. What is right is only read.
        let entry = self.closer.catalog.repair_partition(table, &values, &to).await?;
        if shows(&entry, revision, &result.directory) {
            return Ok(());
        }
        let problem = format!(
            "revision {revision} is in {}, the catalog shows revision {} in {}",
            result.directory,
            entry.revision(),
            entry.storage_descriptor.location
        );
        Err(Error::Format { object: format!("{table}/{}", self.partition), problem, retryable: true })
    }

    async fn start_actions(
        &self,
        revision: u32,
        plan: &Plan,
        result: &RevisionResult,
        state: &State,
    ) -> Result<Vec<ActionOutcome>> {
        let mut outcomes = Vec::new();
        for action in &self.table.on_close {
            let text = action.to_string();
            let name = closed::slug(&text);
            let object = CloseObject::ActionDone(name.clone());
            if state.has(revision, &object) {
                let started: Started = self.get(revision, &object).await?;
                outcomes.push(ActionOutcome { action: text, run: Some(started.run), reason: None });
                continue;
            }
            let intent = Started { format: format(), action: text.clone(), run: self.session.id.to_owned() };
            let put = self.put(revision, &CloseObject::Action(name), &intent).await?;
            let call = self.call(action, revision, plan, result, put == Put::Exists);
            let turn = turn(&self.closer.acting).await?;
            self.session.still()?;
            let (run, reason) = match self.closer.actions.start(action, &call).await? {
                ActionState::Started { run } => (Some(run), None),
                ActionState::Waiting { reason } | ActionState::Refused { reason } => (None, Some(reason)),
            };
            drop(turn);
            if let Some(run) = &run {
                let started = Started { format: format(), action: text.clone(), run: run.clone() };
                let _ = self.put(revision, &object, &started).await?;
            }
            outcomes.push(ActionOutcome { action: text, run, reason });
        }
        Ok(outcomes)
    }

    fn call(
        &self,
        action: &CloseAction,
        revision: u32,
        plan: &Plan,
        result: &RevisionResult,
        repeated: bool,
    ) -> ActionCall {
        let (url, table) = (self.closer.lake.url().trim_end_matches('/'), self.table.name.clone());
        let of = closed::fingerprint(&[url, &table, self.partition.as_str(), &action.to_string()]);
        ActionCall {
            id: format!("weir-{of}-r{revision}"),
            table,
            partition: self.partition.as_str().to_owned(),
            values: values(self.partition),
            location: format!("{url}/{}/", result.directory),
            revision,
            rows: result.rows(),
            late_rows: if revision == 1 { 0 } else { plan.new_rows() },
            given_up: plan.given_up,
            bytes: result.bytes(),
            repeated,
        }
    }

    /// This run does nothing more here: another one need not wait until it cannot be alive.
    async fn release(&self, revision: u32, lease: &Lease) {
        let key = self.prefix.object(revision, &CloseObject::Released(lease.owner));
        // Without it the next run only waits longer.
        let _ = self.closer.lake.put_if_absent(&key, bytes::Bytes::from_static(b"{}\n")).await;
    }

    pub(super) async fn state(&self) -> Result<State> {
        let listed = self.closer.lake.list_dated(self.prefix.as_str()).await?;
        let read = |dated: crate::commit::store::Dated| {
            let (_, _, revision, object) = closed::parse_close(&dated.key)?;
            Some(((revision, object), dated.modified))
        };
        Ok(State(listed.into_iter().filter_map(read).collect()))
    }

    pub(super) async fn get<T: Versioned>(&self, revision: u32, object: &CloseObject) -> Result<T> {
        let key = self.prefix.object(revision, object);
        let bytes = self.closer.lake.get(&key).await?;
        decode(&key, &bytes.ok_or_else(|| unreadable(&key, "it was listed and is gone"))?)
    }

    pub(super) fn key(&self, revision: u32, object: &CloseObject) -> String {
        self.prefix.object(revision, object)
    }

    async fn put<T: Versioned>(&self, revision: u32, object: &CloseObject, content: &T) -> Result<Put> {
        self.closer.lake.put_if_absent(&self.prefix.object(revision, object), encode(content)?).await
    }

    pub(super) fn directory(&self, revision: u32, nonce: &str) -> String {
        closed::closed_directory(&self.table.name, self.partition, revision, nonce)
    }
}

async fn turn(of: &Semaphore) -> Result<SemaphorePermit<'_>> {
    of.acquire().await.map_err(|e| Error::Internal(e.to_string()))
}

/// Whether a catalog's entry shows a revision, or a newer one.
pub(super) fn shows(entry: &Partition, revision: u32, directory: &str) -> bool {
    let location = entry.storage_descriptor.location.trim_end_matches('/');
    entry.revision() > revision
        || (entry.revision() == revision && location.ends_with(&format!("/{directory}")))
}

/// Values of the partition keys as catalogs have them.
pub(super) fn values(partition: &PartitionPath) -> Vec<String> {
    partition
        .values()
        .into_iter()
        .map(|(_, value)| value.unwrap_or_else(|| NULL_PARTITION.to_owned()))
        .collect()
}
