//! The settings of function `close`.

use std::collections::BTreeSet;
use std::time::Duration;

use weir::Result;
use weir::close::{Aggregates, EngineSetting};
use weir::limits;
use weir::schema::parse_duration;

use super::{
    AWS_NAMES, AwsSettings, CatalogAddress, LakeAddress, StreamIdentity, catalog, is_name, lake, setting,
};
use crate::kinesis::is_dynamodb_stream;

/// Everything `close` is told from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseConfig {
    /// `WEIR_LAKE`
    pub lake: LakeAddress,
    /// `WEIR_CATALOG`; a folder in the lake unless set
    pub catalog: CatalogAddress,
    /// `WEIR_TABLES`; all of the catalog unless set
    pub tables: Option<BTreeSet<String>>,
    /// `WEIR_STREAMS`: ARNs of the streams that feed the tables
    pub streams: Vec<String>,
    /// `WEIR_STREAM_IDENTITY`, as the functions have it that read the streams
    pub stream_identity: StreamIdentity,
    /// `WEIR_CONSUMER`, as the function has it that reads the streams
    pub consumer: Option<String>,
    /// `WEIR_FAILURES`: on-failure destination of the mappings
    pub failures: Option<String>,
    /// `WEIR_HELD_BACK`: with lanes, or of a DynamoDB stream without a tumbling window, maximum record age and the function's time-out together
    pub held_back: Option<Duration>,
    /// `WEIR_GRACE`
    pub grace: Duration,
    /// `WEIR_CLOSE_MARGIN`
    pub margin: Duration,
    /// `WEIR_ENDED_STREAMS`: keys of streams that feed tables no more
    pub ended_streams: BTreeSet<String>,
    /// `WEIR_AGGREGATE_FUNCTION`, `WEIR_AGGREGATE_GLUE_JOB`, `WEIR_AGGREGATE_SQL`, `WEIR_AGGREGATE_ENGINE`
    pub aggregates: Aggregates,
    /// `AWS_LAMBDA_FUNCTION_NAME`
    pub function_name: String,
    /// Settings of the clients
    pub aws: AwsSettings,
}

impl CloseConfig {
    /// Read the settings.
    ///
    /// # Errors
    /// A setting that cannot be used, with an example that works.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let list = |name: &str| -> Vec<String> {
            let text = get(name).unwrap_or_default();
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let span = |name: &'static str, default: Duration, example: &'static str| match get(name) {
            None => Ok(default),
            Some(text) => parse_duration(&text).map_err(|problem| setting(name, problem, example)),
        };
        let tables: BTreeSet<String> = list("WEIR_TABLES").into_iter().collect();
        if let Some(wrong) = tables.iter().find(|table| !is_name(table)) {
            let problem = format!("`{wrong}` is no table name (a-z, 0-9 and _)");
            return Err(setting("WEIR_TABLES", problem, "clickstream,access_log"));
        }
        let streams = list("WEIR_STREAMS");
        let is_kinesis = |arn: &String| arn.starts_with("arn:") && arn.contains(":kinesis:");
        if let Some(wrong) = streams.iter().find(|arn| !is_kinesis(arn) && !is_dynamodb_stream(arn)) {
            let problem = format!("`{wrong}` is no ARN of a Kinesis or DynamoDB stream");
            let example = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
            return Err(setting("WEIR_STREAMS", problem, example));
        }
        let catalog = catalog(get("WEIR_CATALOG"))?;
        let held_back = span("WEIR_HELD_BACK", Duration::ZERO, "6h1m")?;
        Ok(Self {
            lake: lake(get("WEIR_LAKE"))?,
            aggregates: aggregates(get, &catalog)?,
            catalog,
            tables: (!tables.is_empty()).then_some(tables),
            streams,
            stream_identity: match get("WEIR_STREAM_IDENTITY") {
                None => StreamIdentity::Ask,
                Some(text) if text == "arn-only" => StreamIdentity::ArnOnly,
                Some(text) => StreamIdentity::Set(text),
            },
            consumer: get("WEIR_CONSUMER"),
            failures: get("WEIR_FAILURES"),
            held_back: (!held_back.is_zero()).then_some(held_back),
            grace: span("WEIR_GRACE", limits::CLOSE_GRACE, "24h")?,
            margin: span("WEIR_CLOSE_MARGIN", limits::CLOSE_MARGIN, "10s")?,
            ended_streams: list("WEIR_ENDED_STREAMS").into_iter().collect(),
            function_name: get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "close".to_owned()),
            aws: AwsSettings(AWS_NAMES.iter().filter_map(|n| get(n).map(|v| (*n, v))).collect()),
        })
    }
}

fn aggregates(get: impl Fn(&str) -> Option<String>, catalog: &CatalogAddress) -> Result<Aggregates> {
    let function = get("WEIR_AGGREGATE_FUNCTION");
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b":_-$".contains(&b);
    if let Some(wrong) = function.as_ref().filter(|name| !name.bytes().all(is_allowed)) {
        let problem = format!("`{wrong}` is neither a function's name nor its ARN");
        return Err(setting("WEIR_AGGREGATE_FUNCTION", problem, "weir-aggregate"));
    }
    let sql = get("WEIR_AGGREGATE_SQL");
    if let Some(wrong) = sql.as_ref().filter(|folder| !folder.starts_with("s3://")) {
        let problem = format!("`{wrong}` is no s3:// address; Glue reads the SQL files there");
        return Err(setting("WEIR_AGGREGATE_SQL", problem, "s3://my-bucket/jobs"));
    }
    let engine = get("WEIR_AGGREGATE_ENGINE").map(|text| text.parse()).transpose();
    let engine: Option<EngineSetting> =
        engine.map_err(|problem| setting("WEIR_AGGREGATE_ENGINE", problem, "2GB"))?;
    Ok(Aggregates {
        function,
        glue_job: get("WEIR_AGGREGATE_GLUE_JOB"),
        sql,
        catalog: match catalog {
            CatalogAddress::Glue { database } => Some(format!("glue://{database}")),
            CatalogAddress::InLake | CatalogAddress::Folder(_) => None,
        },
        engine: engine.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<CloseConfig> {
        CloseConfig::from_env(|name| {
            let base = [("WEIR_LAKE", "s3://bucket/lake")];
            settings.iter().chain(&base).find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn settings_are_read_and_bad_ones_are_named_with_an_example_that_works() {
        let config = read(&[]).unwrap();
        assert_eq!((config.tables, config.streams.len(), config.held_back), (None, 0, None));
        assert_eq!(config.grace, Duration::from_secs(86_400));
        let arn = "arn:aws:kinesis:eu-west-1:1:stream/clicks";
        let config =
            read(&[("WEIR_STREAMS", arn), ("WEIR_TABLES", "a, b"), ("WEIR_HELD_BACK", "6h1m")]).unwrap();
        assert_eq!((config.streams, config.tables.unwrap().len()), (vec![arn.to_owned()], 2));
        assert_eq!(config.held_back, Some(Duration::from_secs(21_660)));
        read(&[("WEIR_STREAMS", "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-11-20T05:00:00.000")])
            .unwrap();
        let config = read(&[
            ("WEIR_CATALOG", "glue://db"),
            ("WEIR_AGGREGATE_FUNCTION", "arn:aws:lambda:eu-west-1:123456789012:function:aggregate:live"),
            ("WEIR_AGGREGATE_ENGINE", "500MB"),
        ]);
        let aggregates = config.unwrap().aggregates;
        assert_eq!(aggregates.catalog.as_deref(), Some("glue://db"));
        assert!(aggregates.function.is_some_and(|f| f.ends_with(":live")) && aggregates.glue_job.is_none());
        assert_eq!(aggregates.engine, EngineSetting::Above(500 << 20));
        assert_eq!(read(&[]).unwrap().aggregates, Aggregates::default());
        for (name, value) in [
            ("WEIR_AGGREGATE_ENGINE", "spark"),
            ("WEIR_AGGREGATE_FUNCTION", "aggregate/x"),
            ("WEIR_AGGREGATE_SQL", "jobs"),
            ("WEIR_LAKE", "/tmp"),
            ("WEIR_TABLES", "a,B"),
            ("WEIR_STREAMS", "clicks"),
            ("WEIR_STREAMS", "arn:aws:dynamodb:eu-west-1:1:table/orders"),
            ("WEIR_HELD_BACK", "6"),
            ("WEIR_GRACE", "1 day"),
            ("WEIR_CLOSE_MARGIN", "x"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: ")), "{message}");
            let example = message.rsplit_once(&format!("example: {name}=")).unwrap().1;
            read(&[(name, example)]).unwrap();
        }
    }
}
