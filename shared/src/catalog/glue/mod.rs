//! The Glue Data Catalog as a [`Catalog`]; the only address of its calls.
//!
//! ```text
//! Catalog ──► GlueCatalog ──► convert ──► client: tries ──► request: signed, the store's HTTP client
//!                 │  tables remembered for a while, with the version that Glue gave them
//!                 └► partitions: at most 100 a call, an answer for each one
//! ```
//!
//! Nothing is connected before the first request: who has another catalog pays nothing. Glue has no
//! conditional update of a partition; what a race leaves is repaired by close. There is no SDK: its
//! 13 calls of Glue's 300 took a tenth of a first build (docs/ARCHITECTURE.md, "Build time").

mod access;
mod client;
mod convert;
mod failure;
mod partitions;
pub(crate) mod request;
mod run;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Catalog;
use super::partition::{Partition, SameRevision, Switch};
use crate::clock::{Clock, EpochMicros};
use crate::error::{Error, Result};
use crate::schema::{TableInput, TableSchema};

pub use access::{AwsAccess, Patience};
pub use client::GlueClient;
pub use run::{JobRun, Start};

use convert::{Entry, Members};
use failure::Failure;

/// How long a table is taken as it was read.
const FRESH: Duration = Duration::from_secs(300);

/// Tables and partitions of one Glue database.
pub struct GlueCatalog {
    client: Arc<GlueClient>,
    database: String,
    /// `glue://database`
    address: String,
    /// The lake's URL, without a slash at its end: where tables without a location are.
    lake: String,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, Known>>,
}

/// A table as it was read.
#[derive(Clone)]
struct Known {
    definition: Arc<TableInput>,
    /// Parsed when asked for.
    schema: Option<Arc<TableSchema>>,
    /// What Glue calls this state of the table.
    version: Option<String>,
    read_at: EpochMicros,
}

impl GlueCatalog {
    /// The catalog of `database` for the lake at URL `lake`.
    pub fn new(client: Arc<GlueClient>, database: &str, lake: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            database: database.to_owned(),
            address: format!("glue://{database}"),
            lake: lake.trim_end_matches('/').to_owned(),
            clock,
            known: Mutex::default(),
        }
    }

    /// The client, for crawlers and jobs.
    pub fn client(&self) -> &Arc<GlueClient> {
        &self.client
    }

    fn object(&self, table: &str) -> String {
        format!("{}/{table}", self.address)
    }

    fn remembered(&self, table: &str) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    fn remember(&self, table: &str, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned(), known);
    }

    fn forget(&self, table: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }

    /// Asks Glue.
    async fn read(&self, table: &str) -> Result<Option<Known>> {
        let body = json!({"DatabaseName": self.database, "Name": table});
        let found = match self.client.call::<FoundTable>("GetTable", &body).await {
            Ok(answer) => answer.table,
            Err(e) if is_absent_table(&e) => None,
            Err(e) => return Err(e.of("get table", &self.object(table), "glue:GetTable")),
        };
        let Some(found) = found else {
            self.forget(table);
            return Ok(None);
        };
        let definition = convert::table_from(&found).map_err(|problem| Error::Format {
            object: self.object(table),
            problem,
            retryable: false,
        })?;
        let known = Known {
            definition: Arc::new(definition),
            schema: None,
            version: found.get("VersionId").and_then(Value::as_str).map(str::to_owned),
            read_at: self.clock.now(),
        };
        self.remember(table, known.clone());
        Ok(Some(known))
    }

    /// The table as it was read lately, or as it stands.
    async fn existing(&self, table: &str) -> Result<Known> {
        let known = self.remembered(table);
        if let Some(known) = known.clone().filter(|known| self.is_fresh(known)) {
            return Ok(known);
        }
        match self.read(table).await {
            Ok(Some(mut read)) => {
                // Nothing changed: what was parsed still holds.
                read.schema = known.filter(|k| k.definition == read.definition).and_then(|k| k.schema);
                Ok(read)
            }
            Ok(None) => Err(self.no_such_table(table)),
            // A bad moment does not take away what is known.
            Err(error) if error.retryable() => known.ok_or(error),
            Err(error) => Err(error),
        }
    }

    fn is_fresh(&self, known: &Known) -> bool {
        let age = self.clock.now().0.saturating_sub(known.read_at.0).unsigned_abs();
        Duration::from_micros(age) < FRESH
    }

    fn no_such_table(&self, table: &str) -> Error {
        Error::NoSuchTable { table: table.to_owned(), catalog: self.address.clone() }
    }

    /// A definition with the location that the lake keeps the table in; refused if it is elsewhere,
    /// since then nobody would see the rows.
    fn placed(&self, definition: &TableInput) -> Result<TableInput> {
        let mut placed = definition.clone();
        let here = format!("{}/{}/", self.lake, definition.name);
        match &definition.storage_descriptor.location {
            Some(there) if run::plain(there) != run::plain(&here) => Err(Error::Schema {
                table: definition.name.clone(),
                problem: format!(
                    "its Location in {} is {there}, but this lake keeps it in {here}; name the lake that holds \
                     the table (WEIR_LAKE), or define a table of another name",
                    self.address
                ),
            }),
            _ => {
                placed.storage_descriptor.location = Some(here);
                Ok(placed)
            }
        }
    }

    async fn create_table(&self, name: &str, input: Value) -> Result<()> {
        let body = json!({"DatabaseName": self.database, "TableInput": input});
        let done = self.client.tell("CreateTable", &body).await;
        done.map_err(|e| e.of("create table", &self.object(name), "glue:CreateTable"))
    }

    /// Replaces a definition, if it still is what `known` says. Glue keeps the old version: people
    /// apply definitions rarely, and may want one back.
    async fn update_table(&self, name: &str, input: Value, known: &Known) -> Result<()> {
        let mut body = json!({"DatabaseName": self.database, "TableInput": input});
        if let Some(version) = &known.version {
            body["VersionId"] = json!(version);
        }
        let done = self.client.tell("UpdateTable", &body).await;
        done.map_err(|e| e.of("update table", &self.object(name), "glue:UpdateTable"))
    }
}

impl Debug for GlueCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlueCatalog").field("address", &self.address).finish_non_exhaustive()
    }
}

#[async_trait]
impl Catalog for GlueCatalog {
    fn address(&self) -> &str {
        &self.address
    }

    async fn tables(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut body = json!({"DatabaseName": self.database});
        let failed = |e: Failure| e.of("list tables of", &self.address, "glue:GetTables");
        loop {
            let page: TablePage = self.client.call("GetTables", &body).await.map_err(failed)?;
            names.extend(page.table_list.into_iter().flatten().map(|table| table.name));
            if !turn(&mut body, page.next_token).map_err(failed)? {
                break;
            }
        }
        names.sort();
        Ok(names)
    }

    async fn definition(&self, table: &str) -> Result<Option<TableInput>> {
        Ok(self.read(table).await?.map(|known| TableInput::clone(&known.definition)))
    }

    /// If the definition was read with this catalog, it is replaced only if it still is the same:
    /// what was compared is what is changed.
    async fn put_table(&self, table: TableInput) -> Result<()> {
        let input = convert::table_to(&table)
            .map_err(|problem| Error::Schema { table: table.name.clone(), problem })?;
        let known = match self.remembered(&table.name) {
            Some(known) => Some(known),
            None => self.read(&table.name).await?,
        };
        let done = match &known {
            None => self.create_table(&table.name, input).await,
            Some(known) => self.update_table(&table.name, input, known).await,
        };
        self.forget(&table.name);
        if let Err(error) = done {
            // The answer to a try that took effect may be lost; the next one then is refused.
            let stands = self.read(&table.name).await.ok().flatten();
            if stands.is_none_or(|stands| *stands.definition != table) {
                self.forget(&table.name);
                return Err(error);
            }
        }
        match known {
            Some(known) if types(&known.definition) != types(&table) => self.retype_partitions(&table).await,
            _ => Ok(()),
        }
    }

    async fn register_partitions(&self, table: &str, partitions: &[Vec<String>]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let time = self.client.access().patience().registering;
        match tokio::time::timeout(time, self.register(table, partitions)).await {
            Ok(done) => done,
            Err(_) => Err(failure::item_failed(
                "register partitions of",
                &self.object(table),
                "glue:BatchCreatePartition",
                ("OperationTimeoutException", &format!("no end within {time:?}")),
            )),
        }
    }

    async fn partitions(&self, table: &str) -> Result<Vec<Partition>> {
        self.existing(table).await?;
        let mut found: Vec<Partition> = self.listed(table, partitions::Columns::Excluded).await?;
        found.sort_by(|a, b| a.values.cmp(&b.values));
        Ok(found)
    }

    async fn partition(&self, table: &str, values: &[String]) -> Result<Option<Partition>> {
        self.existing(table).await?;
        Ok(self.entry(table, values).await?.as_ref().map(Entry::partition))
    }

    async fn partitions_of(&self, table: &str, asked: &[Vec<String>]) -> Result<Vec<Partition>> {
        self.existing(table).await?;
        self.asked(table, asked).await
    }

    fn entries_a_request(&self) -> usize {
        partitions::ASKED
    }

    async fn switch_partition(&self, table: &str, values: &[String], to: &Switch) -> Result<Partition> {
        let known = self.existing(table).await?;
        self.switch(&self.placed(&known.definition)?, values, (to, SameRevision::Stays)).await
    }

    async fn repair_partition(&self, table: &str, values: &[String], to: &Switch) -> Result<Partition> {
        let known = self.existing(table).await?;
        self.switch(&self.placed(&known.definition)?, values, (to, SameRevision::OnlyInItsPlace)).await
    }

    async fn table(&self, table: &str) -> Result<Arc<TableSchema>> {
        let known = self.existing(table).await?;
        if let Some(schema) = known.schema {
            return Ok(schema);
        }
        let schema = Arc::new(TableSchema::from_catalog(&self.placed(&known.definition)?)?);
        self.remember(table, Known { schema: Some(Arc::clone(&schema)), ..known });
        Ok(schema)
    }
}

/// Names and types of the columns, as they are written there.
fn types(table: &TableInput) -> Vec<(&str, &str)> {
    table.storage_descriptor.columns.iter().map(|c| (c.name.as_str(), c.ty.as_str())).collect()
}

fn is_absent_table(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { code, message, .. }
        if code == "EntityNotFoundException" && !message.starts_with("Database "))
}

/// Asks for the next page, if there is one.
///
/// # Errors
/// It is the one that was asked for.
fn turn(body: &mut Value, next_token: Option<String>) -> Result<bool, Failure> {
    let Some(token) = next_token.filter(|token| !token.is_empty()) else { return Ok(false) };
    if body["NextToken"] == *token {
        return Err(Failure::Lost("the same page again".to_owned()));
    }
    body["NextToken"] = json!(token);
    Ok(true)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FoundTable {
    table: Option<Members>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TablePage {
    table_list: Option<Vec<TableName>>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableName {
    name: String,
}
