//! Partitions of a table: registered a hundred at a time, listed by pages, switched by
//! read-modify-write of the whole entry.
//!
//! `BatchUpdatePartition` is the one call that changes entries, of one partition too: it takes many
//! where a type changed, answers for each, and is one permission to grant instead of two.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::convert::{self, Entry, Members};
use super::failure::{Failure, is_passing, item_failed};
use super::{GlueCatalog, turn};
use crate::catalog::REVISION;
use crate::catalog::partition::{Partition, SameRevision, Switch};
use crate::error::{Error, Result};
use crate::schema::{ColumnInput, TableInput, TableSchema};

/// Partitions of one `BatchCreatePartition` or `BatchUpdatePartition`: the service refuses more.
const MAX_BATCH: usize = 100;
/// Partitions of one page: the service's own most.
const PAGE: usize = 1_000;
/// Partitions of one `BatchGetPartition`, which carries the columns of each: the service takes twice as many.
pub(super) const ASKED: usize = 500;
/// Tries at what an answer says of single partitions, and at a switch.
const TRIES: u32 = 6;
/// Before the second try; doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a list carries each partition's columns, which are most of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    Included,
    Excluded,
}

/// What an answer says of partitions that were not done.
struct Items {
    /// There already.
    existing: Vec<Vec<String>>,
    /// To be tried again, and why.
    again: Vec<Vec<String>>,
    passing: Option<Error>,
    /// The first that no patience helps.
    refused: Option<Error>,
}

impl GlueCatalog {
    pub(super) async fn register(&self, table: &str, partitions: &[Vec<String>]) -> Result<()> {
        let known = self.existing(table).await?;
        let definition = self.placed(&known.definition)?;
        if definition.partition_keys.is_empty() {
            return Ok(());
        }
        let mut existing = Vec::new();
        let mut first_error = None;
        for batch in partitions.chunks(MAX_BATCH) {
            // One that is refused does not keep the others out.
            match self.create(&definition, batch).await {
                Ok(there) => existing.extend(there),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        // Weir's own tables have Weir's own partitions. Others may have had theirs before, in places
        // where nobody would see our rows.
        if first_error.is_none() && !TableSchema::is_applied(&definition) {
            first_error = self.foreign(&definition, &existing).await?;
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Makes entries of at most [`MAX_BATCH`] live partitions; answers with those that were there.
    async fn create(&self, table: &TableInput, batch: &[Vec<String>]) -> Result<Vec<Vec<String>>> {
        let object = self.object(&table.name);
        let mut existing = Vec::new();
        let mut wanted = batch.to_vec();
        wanted.sort();
        wanted.dedup();
        let mut refused = None;
        for attempt in 1.. {
            let inputs: Vec<_> =
                wanted.iter().map(|values| live(table, values)).collect::<Result<Vec<_>>>()?;
            let mut body = self.of_table(&table.name);
            body["PartitionInputList"] = json!(inputs);
            let answer = self.client.call::<Refused>("BatchCreatePartition", &body).await;
            let answer =
                answer.map_err(|e| e.of("register partitions of", &object, "glue:BatchCreatePartition"))?;
            let items = self.items(table, answer.errors.unwrap_or_default());
            existing.extend(items.existing);
            refused = refused.or(items.refused);
            match items.passing {
                Some(error) if attempt >= TRIES => return Err(refused.unwrap_or(error)),
                Some(_) => wanted = items.again,
                None => break,
            }
            self.pause(attempt, &wanted).await;
        }
        refused.map_or(Ok(existing), Err)
    }

    fn items(&self, table: &TableInput, errors: Vec<PartitionError>) -> Items {
        let mut items = Items { existing: Vec::new(), again: Vec::new(), passing: None, refused: None };
        for error in errors {
            let (code, message) = error.said();
            let values = error.partition_values.clone().unwrap_or_default();
            if code == "AlreadyExistsException" {
                items.existing.push(values);
                continue;
            }
            let object = format!("{} {values:?}", self.object(&table.name));
            let said = (code, message);
            let failed = item_failed("register partition", &object, "glue:BatchCreatePartition", said);
            if is_passing(code) {
                items.again.push(values);
                items.passing.get_or_insert(failed);
            } else {
                items.refused.get_or_insert(failed);
            }
        }
        items
    }

    /// The first of `existing` whose entry shows another place than ours.
    async fn foreign(&self, table: &TableInput, existing: &[Vec<String>]) -> Result<Option<Error>> {
        let ours = super::run::plain(&format!("{}/{}", self.lake, table.name));
        for values in existing {
            let Some(entry) = self.entry(&table.name, values).await? else { continue };
            let location = entry.partition().storage_descriptor.location;
            let below = super::run::plain(&location);
            let below = below.strip_prefix(&ours).unwrap_or_default();
            if !below.starts_with("/live/") && !below.starts_with("/closed/") {
                return Ok(Some(Error::Schema {
                    table: table.name.clone(),
                    problem: format!(
                        "partition {values:?} is in the catalog already, at {location}: rows of this lake ({ours}/live) \
                         are not seen there; move the old files, then delete the entry with `aws glue delete-partition`"
                    ),
                }));
            }
        }
        Ok(None)
    }

    /// All entries, page by page.
    pub(super) async fn listed(&self, table: &str, columns: Columns) -> Result<Vec<Partition>> {
        let entries = self.entries(table, columns).await?;
        Ok(entries.iter().map(Entry::partition).collect())
    }

    async fn entries(&self, table: &str, columns: Columns) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut body = self.of_table(table);
        body["MaxResults"] = json!(PAGE);
        body["ExcludeColumnSchema"] = json!(columns == Columns::Excluded);
        let object = self.object(table);
        let failed = |e: Failure| e.of("list partitions of", &object, "glue:GetPartitions");
        loop {
            let page: Page = self.client.call("GetPartitions", &body).await.map_err(failed)?;
            found.extend(page.partitions.unwrap_or_default());
            if !turn(&mut body, page.next_token).map_err(failed)? {
                return Ok(found);
            }
        }
    }

    /// Entries by their values, as far as there are any.
    pub(super) async fn asked(&self, table: &str, asked: &[Vec<String>]) -> Result<Vec<Partition>> {
        let mut found = Vec::new();
        for batch in asked.chunks(ASKED) {
            let mut wanted = batch.to_vec();
            while !wanted.is_empty() {
                let (there, left) = self.asked_once(table, &wanted).await?;
                found.extend(there);
                if left.len() < wanted.len() {
                    wanted = left;
                    continue;
                }
                // What is left may be what is not there, or what the service had no time for.
                for values in left {
                    found.extend(self.entry(table, &values).await?.as_ref().map(Entry::partition));
                }
                break;
            }
        }
        Ok(found)
    }

    /// What is there, and what the answer leaves out.
    async fn asked_once(
        &self,
        table: &str,
        wanted: &[Vec<String>],
    ) -> Result<(Vec<Partition>, Vec<Vec<String>>)> {
        let mut body = self.of_table(table);
        body["PartitionsToGet"] = wanted.iter().map(|values| json!({"Values": values})).collect();
        let answer = self.client.call::<Page>("BatchGetPartition", &body).await;
        let answer =
            answer.map_err(|e| e.of("get partitions of", &self.object(table), "glue:BatchGetPartition"))?;
        let again = answer.unprocessed_keys.into_iter().flatten().map(|key| key.values).collect();
        let there = answer.partitions.unwrap_or_default();
        Ok((there.iter().map(Entry::partition).collect(), again))
    }

    pub(super) async fn entry(&self, table: &str, values: &[String]) -> Result<Option<Entry>> {
        let mut body = self.of_table(table);
        body["PartitionValues"] = json!(values);
        match self.client.call::<Found>("GetPartition", &body).await {
            Ok(answer) => Ok(answer.partition),
            Err(e) if e.code() == Some("EntityNotFoundException") => Ok(None),
            Err(e) => {
                let object = format!("{} {values:?}", self.object(table));
                Err(e.of("get partition", &object, "glue:GetPartition"))
            }
        }
    }

    /// The members that every call about partitions begins with.
    fn of_table(&self, table: &str) -> Value {
        json!({"DatabaseName": self.database, "TableName": table})
    }

    /// Reads the entry, changes location and revision, writes the whole of it, and looks at what
    /// stands there. Each try begins with reading: a write that is sent twice could undo what another
    /// wrote in between.
    pub(super) async fn switch(
        &self,
        table: &TableInput,
        values: &[String],
        (to, same): (&Switch, SameRevision),
    ) -> Result<Partition> {
        let object = format!("{} {values:?}", self.object(&table.name));
        let stays = |read: &Partition| same.stays(read, to);
        let mut last = None;
        for attempt in 1..=TRIES {
            match self.entry(&table.name, values).await? {
                None => _ = self.create(table, std::slice::from_ref(&values.to_vec())).await?,
                Some(entry) => {
                    let read = entry.partition();
                    if stays(&read) {
                        return Ok(read);
                    }
                    match self.update(table, &[switched(entry, &self.lake, to)]).await {
                        // Read back by the next turn, which ends with it.
                        Ok(()) => continue,
                        Err(error) if error.retryable() => last = Some(error),
                        Err(error) => return Err(error),
                    }
                    self.pause(attempt, &[values.to_vec()]).await;
                }
            }
        }
        if let Some(read) = self.entry(&table.name, values).await?.as_ref().map(Entry::partition)
            && stays(&read)
        {
            return Ok(read);
        }
        let moved = ("ConcurrentModificationException", "others write the same entry");
        Err(last
            .unwrap_or_else(|| item_failed("switch partition", &object, "glue:BatchUpdatePartition", moved)))
    }

    /// Entries of at most [`MAX_BATCH`] partitions, whole; sent once.
    async fn update(&self, table: &TableInput, inputs: &[Members]) -> Result<()> {
        let object = self.object(&table.name);
        let entry =
            |input: &Members| json!({"PartitionValueList": input.get("Values"), "PartitionInput": input});
        let mut body = self.of_table(&table.name);
        body["Entries"] = inputs.iter().map(entry).collect();
        let answer = self.client.call_once::<Refused>("BatchUpdatePartition", &body).await;
        let answer =
            answer.map_err(|e| e.of("update partitions of", &object, "glue:BatchUpdatePartition"))?;
        let Some(error) = answer.errors.into_iter().flatten().next() else { return Ok(()) };
        let object = format!("{object} {:?}", error.partition_value_list.as_deref().unwrap_or_default());
        Err(item_failed("update partition", &object, "glue:BatchUpdatePartition", error.said()))
    }

    /// Gives partitions the table's types where an entry says another one for the same column.
    pub(super) async fn retype_partitions(&self, table: &TableInput) -> Result<()> {
        let wanted = &table.storage_descriptor.columns;
        let entries = self.entries(&table.name, Columns::Included).await?;
        let retyped: Vec<_> = entries.into_iter().filter_map(|entry| retyped(entry, wanted)).collect();
        for batch in retyped.chunks(MAX_BATCH) {
            self.update(table, batch).await?;
        }
        Ok(())
    }

    /// Longer each time, and another time than for others who were refused in the same moment.
    async fn pause(&self, attempt: u32, of: &[Vec<String>]) {
        tokio::time::sleep(self.client.jittered(PAUSE * 2u32.pow(attempt - 1), &of)).await;
    }
}

/// A live partition's entry: the table's columns and formats, at its own place.
fn live(table: &TableInput, values: &[String]) -> Result<Value> {
    let wrong = |problem| Error::Schema { table: table.name.clone(), problem };
    let mut storage = convert::storage_to(&table.complete_storage()).map_err(wrong)?;
    let location = Partition::live(table, values)?.storage_descriptor.location;
    storage.insert("Location".to_owned(), json!(location));
    Ok(json!({"Values": values, "StorageDescriptor": storage}))
}

/// The entry at another place, all else as it stands.
fn switched(entry: Entry, lake: &str, to: &Switch) -> Members {
    let mut input = entry.into_input();
    for (part, name, value) in [
        ("StorageDescriptor", "Location", to.location(lake)),
        ("Parameters", REVISION, to.revision.to_string()),
    ] {
        // Both are objects if they are there: see `Entry`.
        let part = input.entry(part).or_insert_with(|| json!({}));
        part[name] = json!(value);
    }
    input
}

/// The entry with the table's types, if it says others; columns that it does not have stay away.
fn retyped(entry: Entry, wanted: &[ColumnInput]) -> Option<Members> {
    let mut input = entry.into_input();
    let mut changed = false;
    let columns = input.get_mut("StorageDescriptor")?.get_mut("Columns")?.as_array_mut()?;
    for column in columns.iter_mut().filter_map(Value::as_object_mut) {
        let of_table = wanted.iter().find(|w| column.get("Name").is_some_and(|name| *name == *w.name));
        if let Some(wanted) = of_table.filter(|w| column.get("Type").is_none_or(|ty| *ty != *w.ty)) {
            column.insert("Type".to_owned(), json!(wanted.ty));
            changed = true;
        }
    }
    changed.then_some(input)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    partitions: Option<Vec<Entry>>,
    next_token: Option<String>,
    unprocessed_keys: Option<Vec<Key>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    partition: Option<Entry>,
}

/// What a batch did not do.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refused {
    errors: Option<Vec<PartitionError>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartitionError {
    /// Where a partition was to be made …
    partition_values: Option<Vec<String>>,
    /// … and where one was to be updated.
    partition_value_list: Option<Vec<String>>,
    error_detail: Option<ErrorDetail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorDetail {
    error_code: Option<String>,
    error_message: Option<String>,
}

impl PartitionError {
    /// Code and message.
    fn said(&self) -> (&str, &str) {
        let detail = self.error_detail.as_ref();
        (
            detail.and_then(|d| d.error_code.as_deref()).unwrap_or("no code"),
            detail.and_then(|d| d.error_message.as_deref()).unwrap_or("no message"),
        )
    }
}
