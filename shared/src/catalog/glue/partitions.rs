//! Partitions of a table: registered a hundred at a time, listed by pages, switched by
//! read-modify-write of the whole entry.
//!
//! `BatchUpdatePartition` is the one call that changes entries, of one partition too: it takes many
//! where a type changed, answers for each, and is one permission to grant instead of two.

use std::time::Duration;

use aws_sdk_glue::types as glue;

use super::failure::{code, failed, is_passing, item_failed};
use super::{GlueCatalog, client, convert};
use crate::catalog::REVISION;
use crate::catalog::partition::{Partition, SameRevision, Switch};
use crate::error::{Error, Result};
use crate::schema::{TableInput, TableSchema};

/// Partitions of one `BatchCreatePartition` or `BatchUpdatePartition`: the service refuses more.
const MAX_BATCH: usize = 100;
/// Partitions of one page: the service's own most.
const PAGE: i32 = 1_000;
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
            let request = self
                .client
                .get()?
                .batch_create_partition()
                .database_name(&self.database)
                .table_name(&table.name)
                .set_partition_input_list(Some(inputs));
            let answer = request.send().await;
            let answer = answer
                .map_err(|e| failed("register partitions of", &object, "glue:BatchCreatePartition", &e))?;
            let items = self.items(table, answer.errors());
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

    fn items(&self, table: &TableInput, errors: &[glue::PartitionError]) -> Items {
        let mut items = Items { existing: Vec::new(), again: Vec::new(), passing: None, refused: None };
        for error in errors {
            let values = error.partition_values().to_vec();
            let detail = error.error_detail();
            let code = detail.and_then(|d| d.error_code()).unwrap_or("no code");
            if code == "AlreadyExistsException" {
                items.existing.push(values);
                continue;
            }
            let message = detail.and_then(|d| d.error_message()).unwrap_or("no message");
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
            let location = convert::partition_from(&entry).storage_descriptor.location;
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
        Ok(entries.iter().map(convert::partition_from).collect())
    }

    async fn entries(&self, table: &str, columns: Columns) -> Result<Vec<glue::Partition>> {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let request = self
                .client
                .get()?
                .get_partitions()
                .database_name(&self.database)
                .table_name(table)
                .max_results(PAGE)
                .exclude_column_schema(columns == Columns::Excluded)
                .set_next_token(token);
            let page = request.send().await;
            let page = page
                .map_err(|e| failed("list partitions of", &self.object(table), "glue:GetPartitions", &e))?;
            found.extend(page.partitions.unwrap_or_default());
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
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
                    found.extend(self.entry(table, &values).await?.as_ref().map(convert::partition_from));
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
        let keys = wanted.iter().map(|values| {
            let key = glue::PartitionValueList::builder().set_values(Some(values.clone())).build();
            key.map_err(|e| Error::Internal(e.to_string()))
        });
        let request = self
            .client
            .get()?
            .batch_get_partition()
            .database_name(&self.database)
            .table_name(table)
            .set_partitions_to_get(Some(keys.collect::<Result<_>>()?));
        let answer = request.send().await;
        let answer = answer
            .map_err(|e| failed("get partitions of", &self.object(table), "glue:BatchGetPartition", &e))?;
        let again = answer.unprocessed_keys().iter().map(|key| key.values().to_vec()).collect();
        Ok((answer.partitions().iter().map(convert::partition_from).collect(), again))
    }

    pub(super) async fn entry(&self, table: &str, values: &[String]) -> Result<Option<glue::Partition>> {
        let request = self
            .client
            .get()?
            .get_partition()
            .database_name(&self.database)
            .table_name(table)
            .set_partition_values(Some(values.to_vec()));
        match request.send().await {
            Ok(answer) => Ok(answer.partition),
            Err(e) if code(&e) == Some("EntityNotFoundException") => Ok(None),
            Err(e) => {
                let object = format!("{} {values:?}", self.object(table));
                Err(failed("get partition", &object, "glue:GetPartition", &e))
            }
        }
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
                    let read = convert::partition_from(&entry);
                    if stays(&read) {
                        return Ok(read);
                    }
                    match self.update(table, vec![switched(&entry, &self.lake, to)]).await {
                        // Read back by the next turn, which ends with it.
                        Ok(()) => continue,
                        Err(error) if error.retryable() => last = Some(error),
                        Err(error) => return Err(error),
                    }
                    self.pause(attempt, &[values.to_vec()]).await;
                }
            }
        }
        if let Some(read) = self.entry(&table.name, values).await?.as_ref().map(convert::partition_from)
            && stays(&read)
        {
            return Ok(read);
        }
        let moved = ("ConcurrentModificationException", "others write the same entry");
        Err(last
            .unwrap_or_else(|| item_failed("switch partition", &object, "glue:BatchUpdatePartition", moved)))
    }

    /// Entries of at most [`MAX_BATCH`] partitions, whole; sent once.
    async fn update(&self, table: &TableInput, inputs: Vec<glue::PartitionInput>) -> Result<()> {
        let object = self.object(&table.name);
        let mut entries = Vec::new();
        for input in inputs {
            let entry = glue::BatchUpdatePartitionRequestEntry::builder()
                .set_partition_value_list(input.values.clone())
                .partition_input(input)
                .build();
            entries.push(entry.map_err(|e| Error::Internal(e.to_string()))?);
        }
        let request = self
            .client
            .get()?
            .batch_update_partition()
            .database_name(&self.database)
            .table_name(&table.name)
            .set_entries(Some(entries))
            .customize()
            .config_override(client::once());
        let answer = request.send().await;
        let answer =
            answer.map_err(|e| failed("update partitions of", &object, "glue:BatchUpdatePartition", &e))?;
        let Some(error) = answer.errors().first() else { return Ok(()) };
        let detail = error.error_detail();
        let said = (
            detail.and_then(|d| d.error_code()).unwrap_or("no code"),
            detail.and_then(|d| d.error_message()).unwrap_or("no message"),
        );
        let object = format!("{object} {:?}", error.partition_value_list());
        Err(item_failed("update partition", &object, "glue:BatchUpdatePartition", said))
    }

    /// Gives partitions the table's types where an entry says another one for the same column.
    pub(super) async fn retype_partitions(&self, table: &TableInput) -> Result<()> {
        let wanted = convert::storage_to(&table.storage_descriptor)
            .map_err(|problem| Error::Schema { table: table.name.clone(), problem })?;
        let entries = self.entries(&table.name, Columns::Included).await?;
        let retyped: Vec<_> = entries.iter().filter_map(|entry| retyped(entry, wanted.columns())).collect();
        for batch in retyped.chunks(MAX_BATCH) {
            self.update(table, batch.to_vec()).await?;
        }
        Ok(())
    }

    /// Longer each time, and another time than for others who were refused in the same moment.
    async fn pause(&self, attempt: u32, of: &[Vec<String>]) {
        tokio::time::sleep(self.client.jittered(PAUSE * 2u32.pow(attempt - 1), &of)).await;
    }
}

/// A live partition's entry: the table's columns and formats, at its own place.
fn live(table: &TableInput, values: &[String]) -> Result<glue::PartitionInput> {
    let wrong = |problem| Error::Schema { table: table.name.clone(), problem };
    let mut storage = convert::storage_to(&table.complete_storage()).map_err(wrong)?;
    storage.location = Some(Partition::live(table, values)?.storage_descriptor.location);
    Ok(glue::PartitionInput::builder().set_values(Some(values.to_vec())).storage_descriptor(storage).build())
}

/// The entry at another place, all else as it stands.
fn switched(entry: &glue::Partition, lake: &str, to: &Switch) -> glue::PartitionInput {
    let mut input = convert::partition_input(entry);
    let mut storage = input.storage_descriptor.unwrap_or_else(|| glue::StorageDescriptor::builder().build());
    storage.location = Some(to.location(lake));
    input.storage_descriptor = Some(storage);
    let parameters = input.parameters.get_or_insert_default();
    parameters.insert(REVISION.to_owned(), to.revision.to_string());
    input
}

/// The entry with the table's types, if it says others; columns that it does not have stay away.
fn retyped(entry: &glue::Partition, wanted: &[glue::Column]) -> Option<glue::PartitionInput> {
    let mut input = convert::partition_input(entry);
    let columns = input.storage_descriptor.as_mut()?.columns.as_mut()?;
    let mut changed = false;
    for column in columns {
        let of_table = wanted.iter().find(|w| w.name == column.name).and_then(|w| w.r#type.as_ref());
        if let Some(ty) = of_table.filter(|ty| column.r#type.as_ref() != Some(*ty)) {
            column.r#type = Some(ty.clone());
            changed = true;
        }
    }
    changed.then_some(input)
}
