//! The steps of close a second time, from the library's objects, as simply as they can be written, so
//! that one rule at a time can be left out.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir::Result;
use weir::catalog::{Catalog, Switch};
use weir::close::{
    ActionCall, ActionOutcome, Base, DoneRecord, Plan, PlannedFile, RevisionResult, Vector, Why,
};
use weir::commit::LakeStore;
use weir::commit::reader::{ListedFile, live_files};
use weir::commit::store::Put;
use weir::compact::CompactedFile;
use weir::naming::ChainKey;
use weir::naming::closed::{CloseObject, ClosePrefix, closed_directory, closed_prefix, parse_closed_file};
use weir::naming::{data_file, partition_prefix};
use weir::partition::PartitionPath;

use super::broken::Broken;
use super::parts::{SHARD, STREAM, start};
use super::world::{TABLE, values};

const TAKE_OVER: i64 = 20 * 60 * 1_000_000;

pub(crate) struct Driver<C> {
    pub(crate) lake: LakeStore,
    pub(crate) catalog: C,
    pub(crate) process: u64,
    pub(crate) now: i64,
    pub(crate) grace: i64,
    pub(crate) token: bool,
    pub(crate) broken: Broken,
}

impl<C: Catalog> Driver<C> {
    /// Each partition that is over, as far as it goes. The chain is read once, before all of them.
    pub(crate) async fn run(&self, over: &[PartitionPath]) {
        let Ok(files) = live_files(&self.lake, Some(TABLE)).await else { return };
        for partition in over {
            let own = files.iter().filter(|file| file.file.partition == *partition);
            let _ = self.close(partition, own.cloned().collect()).await;
        }
    }

    async fn close(&self, partition: &PartitionPath, files: Vec<ListedFile>) -> Result<()> {
        let prefix = ClosePrefix::of(TABLE, partition);
        let dated = self.lake.list_dated(prefix.as_str()).await?;
        let born: BTreeMap<String, i64> = dated.into_iter().map(|d| (d.key, d.modified.0)).collect();
        let key = |r: u32, object: CloseObject| prefix.object(r, &object);
        let mut r = (1..).take_while(|r| born.contains_key(&key(*r, CloseObject::Plan))).last().unwrap_or(0);
        let chain = ChainKey { stream: STREAM.into(), shard: SHARD.into() };
        if r == 0 || born.contains_key(&key(r, CloseObject::Done)) {
            let (mut vector, mut base) = (Vector::default(), None);
            if r > 0 {
                vector = self.get::<Plan>(&key(r, CloseObject::Plan)).await?.vector;
                let result: RevisionResult = self.get(&key(r, CloseObject::Result)).await?;
                self.switch(partition, r, &result).await?;
                let RevisionResult { directory, files, committed, removed, .. } = result;
                base = Some(Base { directory, files, committed, removed });
            }
            let new: Vec<_> = files.iter().filter(|f| f.version > vector.of(&chain)).collect();
            if new.is_empty() {
                return self.collect(partition, r, &born).await;
            }
            new.iter().for_each(|f| vector.cover(&chain, f.version));
            let input = |f: &&ListedFile| PlannedFile {
                name: f.file.name.clone(),
                rows: f.file.rows,
                bytes: f.file.bytes,
            };
            let inputs = new.iter().map(input).collect();
            let (owner, why) = (format!("p{}", self.process), Why::Complete);
            r += 1;
            let plan = Plan { format: 1, owner, why, vector, inputs, base, given_up: 0 };
            let _ = self.put(&key(r, CloseObject::Plan), &plan).await?;
        }
        self.finish(partition, r, &files).await
    }

    async fn finish(&self, partition: &PartitionPath, r: u32, files: &[ListedFile]) -> Result<()> {
        let prefix = ClosePrefix::of(TABLE, partition);
        let key = |object: CloseObject| prefix.object(r, &object);
        let mut plan: Plan = self.get(&key(CloseObject::Plan)).await?;
        let me = format!("p{}", self.process);
        if self.broken != Broken::NoOwner && !self.own(&prefix, r, &plan, &me).await? {
            return Ok(());
        }
        if self.broken == Broken::PlanPinsNothing && plan.base.is_none() {
            // What is there now in place of what the plan names.
            plan.inputs = files
                .iter()
                .map(|f| PlannedFile { name: f.file.name.clone(), rows: f.file.rows, bytes: f.file.bytes })
                .collect();
        }
        let result = match self.find::<RevisionResult>(&key(CloseObject::Result)).await? {
            Some(result) => result,
            None => {
                let ours = self.compact(partition, r, &plan, &me).await?;
                let created = self.put(&key(CloseObject::Result), &ours).await? == Put::Created;
                if created || self.broken == Broken::ResultNamesOneself {
                    ours
                } else {
                    let winner: RevisionResult = self.get(&key(CloseObject::Result)).await?;
                    if winner.directory != ours.directory {
                        for file in &ours.files {
                            self.lake.delete(&format!("{}/{}", ours.directory, file.name)).await?;
                        }
                    }
                    winner
                }
            }
        };
        self.switch(partition, r, &result).await?;
        let call = ActionCall {
            id: format!("{partition}-r{r}").replace(['=', '/'], "-"),
            table: TABLE.into(),
            partition: partition.to_string(),
            values: values(partition),
            location: String::new(),
            revision: r,
            rows: 0,
            late_rows: 0,
            given_up: 0,
            bytes: 0,
            repeated: match self.broken {
                Broken::NoMarker => false,
                _ => {
                    self.lake.put_if_absent(&key(CloseObject::Action("event".into())), "{}".into()).await?
                        == Put::Exists
                }
            },
        };
        let done = key(CloseObject::ActionDone("event".into()));
        if self.lake.get(&done).await?.is_none() {
            let _ = start(&self.lake, &call, self.process, self.token).await?;
            let _ = self.lake.put_if_absent(&done, Bytes::from_static(b"{}")).await?;
        }
        let actions = vec![ActionOutcome { action: "event".into(), run: Some("run".into()), reason: None }];
        let _ = self.put(&key(CloseObject::Done), &DoneRecord { format: 1, actions }).await?;
        Ok(())
    }

    async fn own(&self, prefix: &ClosePrefix, r: u32, plan: &Plan, me: &str) -> Result<bool> {
        let (mut k, mut owner) = (1, plan.owner.clone());
        while let Some(next) = self.lake.get(&prefix.object(r, &CloseObject::Owner(k + 1))).await? {
            (k, owner) = (k + 1, String::from_utf8_lossy(&next).into_owned());
        }
        if owner == me {
            return Ok(true);
        }
        let object = if k == 1 { CloseObject::Plan } else { CloseObject::Owner(k) };
        let since = self.lake.modified(&prefix.object(r, &object)).await?;
        if since.is_none_or(|since| self.now - since.0 <= TAKE_OVER) {
            return Ok(false);
        }
        let next = prefix.object(r, &CloseObject::Owner(k + 1));
        let _ = self.lake.put_if_absent(&next, Bytes::from(me.to_owned())).await?;
        Ok(self.lake.get(&next).await?.is_some_and(|owner| owner == me.as_bytes()))
    }

    async fn compact(
        &self,
        partition: &PartitionPath,
        r: u32,
        plan: &Plan,
        nonce: &str,
    ) -> Result<RevisionResult> {
        let nonce = if self.broken == Broken::SharedDirectory { "shared" } else { nonce };
        let directory = closed_directory(TABLE, partition, r, nonce);
        let base =
            plan.base.iter().flat_map(|b| b.files.iter().map(|f| format!("{}/{}", b.directory, f.name)));
        let live = plan.inputs.iter().map(|f| data_file(TABLE, partition, &f.name));
        let mut keys: Vec<String> = base.chain(live).collect();
        if self.broken == Broken::BaseIsLive && plan.base.is_some() {
            keys = self.lake.list(&partition_prefix(TABLE, partition)).await?;
        }
        let mut lines = Vec::new();
        for key in keys {
            let gone = || weir::Error::Internal(format!("{key} is gone"));
            let bytes = self.lake.get(&key).await?.ok_or_else(gone)?;
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect::<Vec<_>>());
        }
        let mut files = Vec::new();
        // Programs of two versions, or of a table that was changed in between, cut otherwise.
        let pieces = 1 + (self.process % 3) as usize;
        for (n, piece) in lines.chunks(lines.len().div_ceil(pieces).max(1)).enumerate() {
            let text: String = piece.iter().flat_map(|line| [line, "\n"]).collect();
            let name = format!("part-{n}");
            files.push(CompactedFile {
                name: name.clone(),
                rows: piece.len() as u64,
                bytes: text.len() as u64,
            });
            let _ = self.lake.put_if_absent(&format!("{directory}/{name}"), Bytes::from(text)).await?;
        }
        let committed = plan.committed();
        Ok(RevisionResult { format: 1, directory, files, committed, removed: 0 })
    }

    async fn switch(&self, partition: &PartitionPath, r: u32, result: &RevisionResult) -> Result<()> {
        let to = Switch { directory: result.directory.clone(), revision: r };
        self.catalog.repair_partition(TABLE, &values(partition), &to).await.map(drop)
    }

    async fn collect(&self, partition: &PartitionPath, r: u32, born: &BTreeMap<String, i64>) -> Result<()> {
        let prefix = ClosePrefix::of(TABLE, partition);
        let done = born.get(&prefix.object(r, &CloseObject::Done)).copied().unwrap_or(self.now);
        if self.now - done < self.grace && self.broken != Broken::NoGrace {
            return Ok(());
        }
        let entry = self.catalog.partition(TABLE, &values(partition)).await?;
        if entry.is_none_or(|entry| entry.revision() < r) {
            return Ok(());
        }
        if self.broken == Broken::CollectByPrefix {
            for key in self.lake.list(&partition_prefix(TABLE, partition)).await? {
                self.lake.delete(&key).await?;
            }
        }
        let mut winners = BTreeMap::new();
        for r in 1..=r {
            let plan: Plan = self.get(&prefix.object(r, &CloseObject::Plan)).await?;
            for file in &plan.inputs {
                self.lake.delete(&data_file(TABLE, partition, &file.name)).await?;
            }
            for file in
                plan.base.iter().flat_map(|b| b.files.iter().map(|f| format!("{}/{}", b.directory, f.name)))
            {
                self.lake.delete(&file).await?;
            }
            let result: RevisionResult = self.get(&prefix.object(r, &CloseObject::Result)).await?;
            winners.insert(r, result.directory);
        }
        for key in self.lake.list(&closed_prefix(TABLE, partition)).await? {
            let Some((r, directory)) = parse_closed_file(&key) else { continue };
            if winners.get(&r).is_some_and(|winner| winner != directory) {
                self.lake.delete(&key).await?;
            }
        }
        Ok(())
    }

    async fn put<T: Serialize>(&self, key: &str, object: &T) -> Result<Put> {
        self.lake.put_if_absent(key, serde_json::to_vec(object).unwrap().into()).await
    }

    async fn find<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let bytes = self.lake.get(key).await?;
        Ok(bytes.map(|bytes| serde_json::from_slice(&bytes).unwrap()))
    }

    async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let gone = || weir::Error::Internal(format!("{key} is gone"));
        self.find(key).await?.ok_or_else(gone)
    }
}
