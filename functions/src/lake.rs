//! The process behind function `ingest`: the configured lake, its catalog and its tables.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use weir::Result;
use weir::catalog::glue::{AwsAccess, GlueCatalog, GlueClient, Patience};
use weir::catalog::{Catalog, FolderCatalog};
use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::commit::LakeStore;
use weir::event::{ParsedEvent, Source};
use weir::metrics::{BatchMetrics, RequestCounts, StageTimes};
use weir::pipeline::{Attempt, Ingest, check_targets};
use weir::schema::TableSchema;

use crate::context::{AwsSettings, CatalogAddress, Config, LakeAddress};
use crate::identity::StreamIdentities;
use crate::ingest::{Process, Processed};

/// How long the definitions of a process are taken as they were read.
const TABLES_FRESH: Duration = Duration::from_secs(300);
/// How long a batch waits for them to be read again.
const TABLES_PATIENCE: Duration = Duration::from_secs(1);

/// Writes events into the lake.
pub struct LakeProcess {
    ingest: Ingest,
    catalog: Arc<dyn Catalog>,
    tables: Vec<Arc<TableSchema>>,
    tables_read_at: EpochMicros,
    identities: StreamIdentities,
    clock: Arc<dyn Clock>,
    /// Tells this process from any other, for attempt ids.
    nonce: u64,
    attempts: u64,
}

/// Open the lake and read the tables. Clients are made here, connections with the first batch.
///
/// # Errors
/// A lake or catalog that cannot be opened, a table that is not there: init fails with its name.
pub async fn connect(config: &Config) -> Result<LakeProcess> {
    let (lake, catalog) = open(&config.lake, &config.catalog, &config.aws, Patience::SHORT)?;
    let mut tables = Vec::new();
    for table in &config.tables {
        tables.push(catalog.table(table).await?);
    }
    check_targets(&tables)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let identities = StreamIdentities::new(config);
    let ingest = Ingest::new(lake, catalog.clone(), tables.clone(), String::new(), clock.clone())
        .with_consumer(config.consumer.clone());
    let (tables_read_at, nonce) = (clock.now(), nonce());
    Ok(LakeProcess { ingest, catalog, tables, tables_read_at, identities, clock, nonce, attempts: 0 })
}

/// The lake and its catalog; `patience` is with Glue.
///
/// # Errors
/// One that cannot be opened.
pub fn open(
    address: &LakeAddress,
    catalog: &CatalogAddress,
    aws: &AwsSettings,
    patience: Patience,
) -> Result<(LakeStore, Arc<dyn Catalog>)> {
    let url = address.url();
    let lake = LakeStore::open(&url, &options(aws))?;
    let catalog: Arc<dyn Catalog> = match catalog {
        CatalogAddress::InLake => {
            Arc::new(FolderCatalog::new(lake.object_store(), lake.path("")?, url.clone()))
        }
        CatalogAddress::Folder(path) => {
            let folder = LakeStore::open(&format!("file://{path}"), &[])?;
            Arc::new(FolderCatalog::new(folder.object_store(), folder.path("")?, url.clone()))
        }
        CatalogAddress::Glue { database } => {
            let client = glue_client(aws, patience)?;
            Arc::new(GlueCatalog::new(client, database, &url, Arc::new(SystemClock)))
        }
    };
    Ok((lake, catalog))
}

/// A client of Glue, connected when it is first used.
///
/// # Errors
/// No region.
pub fn glue_client(aws: &AwsSettings, patience: Patience) -> Result<Arc<GlueClient>> {
    let access = AwsAccess::from_options(&options(aws), patience)?;
    Ok(Arc::new(GlueClient::new(Arc::new(access), nonce())))
}

fn options(aws: &AwsSettings) -> Vec<(String, String)> {
    aws.0.iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect()
}

/// Another number in each process: the hasher's keys are random.
fn nonce() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

impl LakeProcess {
    /// Takes up definitions that were applied since the process started. What cannot be read now, or
    /// not be used, leaves the ones that are there: the next init says what is wrong.
    async fn refresh_tables(&mut self, now: EpochMicros) {
        let age = Duration::from_micros(now.0.saturating_sub(self.tables_read_at.0).unsigned_abs());
        if age < TABLES_FRESH {
            return;
        }
        self.tables_read_at = now;
        let reads = async {
            let mut tables = Vec::new();
            for table in &self.tables {
                tables.push(self.catalog.table(&table.name).await?);
            }
            check_targets(&tables)?;
            Ok::<_, weir::Error>(tables)
        };
        let Ok(Ok(tables)) = tokio::time::timeout(TABLES_PATIENCE, reads).await else { return };
        if tables.iter().zip(&self.tables).any(|(new, old)| new.version != old.version) {
            self.ingest.set_tables(tables.clone());
            self.tables = tables;
        }
    }
}

impl Process for LakeProcess {
    async fn process(&mut self, event: &mut ParsedEvent, time_left: Duration) -> Result<Processed> {
        let now = self.clock.now();
        self.refresh_tables(now).await;
        self.attempts += 1;
        let id = format!("{:016x}-{:x}-{}", self.nonce, now.0, self.attempts);
        if let Some(origin) = &event.origin {
            let identity = match origin.source {
                Source::Kinesis => self.identities.of(&origin.stream_arn, now).await?,
                // The ARN says when the stream was made.
                Source::DynamoDb => String::new(),
            };
            self.ingest.identify(&origin.stream_arn, identity);
        }
        let build_until = EpochMicros(now.0.saturating_add(time_left.as_micros() as i64));
        let done = self.ingest.process(&Attempt { event, id: &id, build_until }).await?;
        let requests = RequestCounts {
            put_count: done.requests.puts,
            get_count: done.requests.gets,
            list_count: done.requests.lists,
            delete_count: done.requests.deletes,
        };
        let build_us = u64::try_from(done.build_us).unwrap_or(0);
        let stages = StageTimes {
            build_us,
            commit_us: u64::try_from(done.total_us).unwrap_or(0).saturating_sub(build_us),
            ..StageTimes::default()
        };
        let metrics = BatchMetrics {
            documents_count: event.batch.documents.len() as u64,
            rows_count: done.counts.rows.values().sum(),
            dead_letters: done.counts.dead,
            unknown_fields: done.counts.unknown_fields,
            files_count: done.files,
            commits_count: done.commits,
            redelivered_count: done.redelivered,
            partitions_count: done.partitions,
            unregistered_partitions_count: done.unregistered_partitions,
            files_bytes: done.counts.file_bytes,
            requests,
            stages,
            ..BatchMetrics::default()
        };
        Ok(Processed { first_uncommitted: done.first_uncommitted, metrics })
    }
}

#[cfg(test)]
mod tests {
    use weir::catalog::{apply, plan_apply};
    use weir::schema::TableInput;
    use weir::unpack::{UnpackLimits, Unpacker};

    use super::*;
    use crate::context::StreamIdentity;

    #[tokio::test]
    async fn a_warm_process_takes_the_same_numbers_of_a_stream_made_again_for_other_records() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let config = |identity: &str| {
            let settings = [
                ("WEIR_LAKE", url.as_str()),
                ("WEIR_TABLE", "clickstream"),
                ("WEIR_STREAM_IDENTITY", identity),
            ];
            Config::from_env(|name| settings.iter().find(|s| s.0 == name).map(|s| s.1.to_owned())).unwrap()
        };
        let lake = LakeStore::open(&url, &[]).unwrap();
        let catalog = FolderCatalog::new(lake.object_store(), lake.path("").unwrap(), url.as_str());
        let table = TableInput::from_json(include_str!("../../schemas/clickstream.json")).unwrap();
        apply(&plan_apply(&[table], &catalog, &url).await.unwrap(), &catalog).await.unwrap();

        let data = r#"{"event_id":"a","event_type":"click","event_time":"2025-01-02T03:04:05Z"}"#;
        let event = serde_json::json!({"Records": [{
            "eventID": "shardId-000000000000:1", "eventSource": "aws:kinesis",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:1:stream/clicks",
            "kinesis": {"sequenceNumber": "1", "partitionKey": "k", "approximateArrivalTimestamp": 1_767_322_000.5,
                "data": base64_simd::STANDARD.encode_to_string(data)},
        }]})
        .to_string();
        let mut process = connect(&config("2025")).await.unwrap();
        for (identity, rows) in [("2025", 1), ("2025", 1), ("2026", 2), ("2026", 2)] {
            process.identities = StreamIdentities::new(&config(identity));
            assert_eq!(config(identity).stream_identity, StreamIdentity::Set(identity.into()));
            let mut parsed = ParsedEvent::default();
            parsed.parse(&mut Unpacker::new(UnpackLimits::default()), event.as_bytes()).unwrap();
            let done = process.process(&mut parsed, Duration::from_secs(60)).await.unwrap();
            assert_eq!(done.first_uncommitted, None);
            let files = weir::commit::reader::live_files(&lake, None).await.unwrap();
            assert_eq!(files.iter().map(|f| f.file.rows).sum::<u64>(), rows, "{identity}");
        }
    }
    #[tokio::test]
    async fn a_warm_process_takes_up_a_column_that_was_added() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let settings = [("WEIR_LAKE", url.as_str()), ("WEIR_TABLE", "clickstream")];
        let config =
            Config::from_env(|name| settings.iter().find(|s| s.0 == name).map(|s| s.1.to_owned())).unwrap();
        let lake = LakeStore::open(&url, &[]).unwrap();
        let catalog = FolderCatalog::new(lake.object_store(), lake.path("").unwrap(), url.as_str());
        let text = include_str!("../../schemas/clickstream.json");
        let put = async |text: &str| {
            let table = TableInput::from_json(text).unwrap();
            apply(&plan_apply(&[table], &catalog, &url).await.unwrap(), &catalog).await.unwrap();
        };
        put(text).await;
        let mut process = connect(&config).await.unwrap();
        let before = process.tables[0].version.clone();
        let added =
            r#"{"Name": "properties", "Type": "map<string,string>"}, {"Name": "campaign", "Type": "string"}"#;
        let old = r#"{"Name": "properties", "Type": "map<string,string>", "Comment": "Free-form, for experiments"}"#;
        assert!(text.contains(old));
        put(&text.replace(old, added)).await;
        let read_at = process.tables_read_at;
        let after = |span: Duration| EpochMicros(read_at.0 + span.as_micros() as i64);
        process.refresh_tables(after(TABLES_FRESH / 2)).await;
        assert_eq!(process.tables[0].version, before);
        process.refresh_tables(after(TABLES_FRESH)).await;
        assert!(process.tables[0].columns.iter().any(|c| c.name == "campaign"));
        // What is broken in between changes nothing.
        let now = process.tables[0].version.clone();
        let mut lost = catalog.definition("clickstream").await.unwrap().unwrap();
        lost.parameters.clear();
        catalog.put_table(lost).await.unwrap();
        process.refresh_tables(after(TABLES_FRESH * 3)).await;
        assert_eq!(process.tables[0].version, now);
        // So does what init would refuse.
        let more = text.replace(old, &added.replace("campaign", "coupon"));
        let more = more.replace(r#""weir.dedupe_key""#, r#""weir.job": "j", "weir.dedupe_key""#);
        catalog.put_table(TableInput::from_json(&more).unwrap()).await.unwrap();
        assert!(catalog.table("clickstream").await.unwrap().columns.iter().any(|c| c.name == "coupon"));
        process.refresh_tables(after(TABLES_FRESH * 5)).await;
        assert_eq!(process.tables[0].version, now);
    }
}
