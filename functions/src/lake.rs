//! The process behind function `ingest`: the configured lake, its catalog and its tables.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use weir::Result;
use weir::catalog::{Catalog, FolderCatalog};
use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::commit::LakeStore;
use weir::event::{ParsedEvent, Source};
use weir::metrics::{BatchMetrics, RequestCounts, StageTimes};
use weir::pipeline::{Attempt, Ingest};

use crate::context::{AwsSettings, CatalogAddress, Config, LakeAddress};
use crate::identity::StreamIdentities;
use crate::ingest::{Process, Processed};

/// Writes events into the lake.
pub struct LakeProcess {
    ingest: Ingest,
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
    let (lake, catalog) = open(&config.lake, &config.catalog, &config.aws).await?;
    let mut tables = Vec::new();
    for table in &config.tables {
        let table = catalog.table(table).await?;
        table.check_loadable()?;
        tables.push(table);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let identities = StreamIdentities::new(config);
    let ingest = Ingest::new(lake, catalog, tables, String::new(), clock.clone())
        .with_consumer(config.consumer.clone());
    // The hasher's keys are random in each process.
    let nonce = std::hash::RandomState::new().build_hasher().finish();
    Ok(LakeProcess { ingest, identities, clock, nonce, attempts: 0 })
}

/// The lake and its catalog.
///
/// # Errors
/// One that cannot be opened.
pub async fn open(
    address: &LakeAddress,
    catalog: &CatalogAddress,
    aws: &AwsSettings,
) -> Result<(LakeStore, Arc<dyn Catalog>)> {
    let options: Vec<_> = aws.0.iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect();
    let url = address.url();
    let lake = LakeStore::open(&url, &options)?;
    let catalog: Arc<dyn Catalog> = match catalog {
        CatalogAddress::InLake => {
            Arc::new(FolderCatalog::new(lake.object_store(), lake.path("")?, url.clone()))
        }
        CatalogAddress::Folder(path) => {
            let folder = LakeStore::open(&format!("file://{path}"), &[])?;
            Arc::new(FolderCatalog::new(folder.object_store(), folder.path("")?, url.clone()))
        }
        CatalogAddress::Glue { .. } => {
            return Err(weir::Error::Setting {
                setting: "WEIR_CATALOG".into(),
                problem:
                    "this version reads definitions from folders only; leave it unset for the lake's own"
                        .into(),
                example: "file:///srv/catalog".into(),
            });
        }
    };
    Ok((lake, catalog))
}

impl Process for LakeProcess {
    async fn process(&mut self, event: &mut ParsedEvent, time_left: Duration) -> Result<Processed> {
        let now = self.clock.now();
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
}
