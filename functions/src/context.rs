//! Environment → [`Config`]: read once, at init. A setting that cannot be used is named, with an
//! example that works. Nothing else in the functions reads the environment.

mod close;

use std::fmt;
use std::time::Duration;

use weir::{Error, Result};

pub use close::CloseConfig;

/// Everything a function is told from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `WEIR_LAKE`
    pub lake: LakeAddress,
    /// `WEIR_CATALOG`; a folder in the lake unless set
    pub catalog: CatalogAddress,
    /// `WEIR_TABLE`, or the tables of `WEIR_TABLES`, which share the stream by their `weir.route`
    pub tables: Vec<String>,
    /// `WEIR_STREAM_IDENTITY`
    pub stream_identity: StreamIdentity,
    /// `WEIR_CONSUMER`
    pub consumer: Option<String>,
    /// `WEIR_DEADLINE_RESERVE`
    pub deadline_reserve: Reserve,
    /// `AWS_LAMBDA_FUNCTION_NAME`
    pub function_name: String,
    /// Settings of S3, as the AWS tools name them
    pub aws: AwsSettings,
}

/// Where the lake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LakeAddress {
    /// A folder of this machine: `file:///…`
    Folder(String),
    /// `s3://bucket/prefix`
    S3 {
        /// Bucket.
        bucket: String,
        /// Without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl LakeAddress {
    /// As an address.
    pub fn url(&self) -> String {
        match self {
            LakeAddress::Folder(path) => format!("file://{path}"),
            LakeAddress::S3 { bucket, prefix } if prefix.is_empty() => format!("s3://{bucket}"),
            LakeAddress::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
        }
    }
}

/// Where the schemas are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogAddress {
    /// `_weir/catalog/` of the lake.
    InLake,
    /// A folder of this machine: `file:///…`
    Folder(String),
    /// `glue://database`
    Glue {
        /// Database.
        database: String,
    },
}

/// What tells a stream from one made again under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamIdentity {
    /// Asked of the stream: when it was made.
    Ask,
    /// As set: any text that is another one for another stream.
    Set(String),
    /// Nothing: who says so never makes a stream again under the same name.
    ArnOnly,
}

/// How much of an invocation's time is kept to commit what is there and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// Two seconds, but at most a fifth of the time given: the service's default time-out is three
    /// seconds in all.
    Default,
    /// As set.
    Set(Duration),
}

impl Reserve {
    /// Of an invocation that has `given` time left at its start.
    pub fn of(self, given: Duration) -> Duration {
        match self {
            Reserve::Default => Duration::from_secs(2).min(given / 5),
            Reserve::Set(reserve) => reserve.min(given),
        }
    }
}

/// `AWS_*` settings that the clients take. Secrets are not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsSettings(pub Vec<(&'static str, String)>);

impl fmt::Debug for AwsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl AwsSettings {
    /// One of them.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// What the clients of S3 and Kinesis understand of the environment.
const AWS_NAMES: [&str; 20] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_KINESIS",
    "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
    "AWS_ENDPOINT_URL_GLUE",
    "AWS_ENDPOINT_URL_SFN",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
];

/// What the runtime client reads by itself; it panics where one is missing, so they are checked first.
const RUNTIME_NAMES: [(&str, &str); 4] = [
    ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
    ("AWS_LAMBDA_FUNCTION_NAME", "ingest"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
];

const LAKE_EXAMPLE: &str = "s3://my-bucket/lake";
const TABLES_EXAMPLE: &str = "clickstream,access_log";

/// The settings of S3 that an environment gives, with their names in lower case.
pub fn store_options(get: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    AWS_NAMES.iter().filter_map(|name| Some((name.to_lowercase(), get(name)?))).collect()
}

impl Config {
    /// Read the settings of a function.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        // Set to nothing counts as not set: templates write empty values for absent parameters.
        let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        Ok(Config {
            lake: lake(get("WEIR_LAKE"))?,
            catalog: catalog(get("WEIR_CATALOG"))?,
            tables: tables(get("WEIR_TABLE"), get("WEIR_TABLES"))?,
            stream_identity: match get("WEIR_STREAM_IDENTITY") {
                None => StreamIdentity::Ask,
                Some(text) if text == "arn-only" => StreamIdentity::ArnOnly,
                Some(text) => StreamIdentity::Set(text),
            },
            consumer: get("WEIR_CONSUMER"),
            deadline_reserve: reserve(get("WEIR_DEADLINE_RESERVE"))?,
            function_name: get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "ingest".to_owned()),
            aws: AwsSettings(AWS_NAMES.iter().filter_map(|n| get(n).map(|v| (*n, v))).collect()),
        })
    }
}

/// Lake, catalog and clients' settings alone, for functions that take no stream.
pub fn lake_and_catalog(
    get: impl Fn(&str) -> Option<String>,
) -> Result<(LakeAddress, CatalogAddress, AwsSettings)> {
    let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    let aws = AwsSettings(AWS_NAMES.iter().filter_map(|n| get(n).map(|v| (*n, v))).collect());
    Ok((lake(get("WEIR_LAKE"))?, catalog(get("WEIR_CATALOG"))?, aws))
}

/// The environment has what the Lambda runtime client needs.
pub fn check_runtime(get: impl Fn(&str) -> Option<String>) -> Result<()> {
    for (name, example) in RUNTIME_NAMES {
        let value = get(name).unwrap_or_default();
        let usable = match name {
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => value.parse::<i32>().is_ok(),
            _ => !value.is_empty(),
        };
        if !usable {
            let problem = "is set by Lambda and not here; on one machine `weir up` runs the function";
            return Err(setting(name, problem.to_owned(), example));
        }
    }
    Ok(())
}

/// The process's environment.
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn setting(name: &'static str, problem: String, example: &'static str) -> Error {
    Error::Setting { setting: name.into(), problem, example: example.into() }
}

fn lake(value: Option<String>) -> Result<LakeAddress> {
    let value = value.ok_or_else(|| setting("WEIR_LAKE", "is not set".to_owned(), LAKE_EXAMPLE))?;
    if let Some(path) = folder(&value) {
        return Ok(LakeAddress::Folder(path.to_owned()));
    }
    let address = value.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    match address {
        Some((bucket, prefix)) if is_bucket(bucket) => {
            Ok(LakeAddress::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
        }
        _ => Err(setting("WEIR_LAKE", format!("`{value}` is no s3:// or file:/// address"), LAKE_EXAMPLE)),
    }
}

fn catalog(value: Option<String>) -> Result<CatalogAddress> {
    let Some(value) = value else { return Ok(CatalogAddress::InLake) };
    if let Some(path) = folder(&value) {
        return Ok(CatalogAddress::Folder(path.to_owned()));
    }
    match value.strip_prefix("glue://").map(|d| d.trim_end_matches('/')) {
        Some(database) if is_name(database) => Ok(CatalogAddress::Glue { database: database.to_owned() }),
        _ => {
            let problem = format!("`{value}` is no glue:// or file:/// address");
            Err(setting("WEIR_CATALOG", problem, "glue://my_database"))
        }
    }
}

fn tables(one: Option<String>, several: Option<String>) -> Result<Vec<String>> {
    let (name, example, value) = match (one, several) {
        (Some(_), Some(_)) => {
            return Err(setting(
                "WEIR_TABLES",
                "is set beside WEIR_TABLE; keep one".to_owned(),
                TABLES_EXAMPLE,
            ));
        }
        (None, Some(list)) => ("WEIR_TABLES", TABLES_EXAMPLE, list),
        (Some(table), None) => ("WEIR_TABLE", "clickstream", table),
        (None, None) => {
            let problem = "is not set, and neither is WEIR_TABLES".to_owned();
            return Err(setting("WEIR_TABLE", problem, "clickstream"));
        }
    };
    let mut tables: Vec<String> = Vec::new();
    // One table has no comma, so `WEIR_TABLE=a,b` ends as a bad name with the way out below.
    let parts = if name == "WEIR_TABLES" { value.split(',').collect() } else { vec![value.as_str()] };
    for table in parts.into_iter().map(str::trim) {
        if !is_name(table) {
            let problem = format!("`{table}` is no table name (a-z, 0-9 and _; several go to WEIR_TABLES)");
            return Err(setting(name, problem, example));
        }
        if tables.iter().any(|t| t == table) {
            return Err(setting(name, format!("names {table} twice"), example));
        }
        tables.push(table.to_owned());
    }
    Ok(tables)
}

fn reserve(value: Option<String>) -> Result<Reserve> {
    let Some(value) = value else { return Ok(Reserve::Default) };
    duration(&value).map(Reserve::Set).ok_or_else(|| {
        let problem = format!("`{value}` is no duration (a whole number and ms, s or m)");
        setting("WEIR_DEADLINE_RESERVE", problem, "2s")
    })
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

/// The path of `file:///path`.
fn folder(value: &str) -> Option<&str> {
    value.strip_prefix("file://").filter(|path| path.starts_with('/'))
}

fn is_bucket(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (3..=63).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !name.is_empty() && name.bytes().all(allowed) && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Config> {
        let base = [("WEIR_LAKE", "s3://bucket/lake/"), ("WEIR_TABLE", "clickstream")];
        Config::from_env(|name| {
            let set = settings.iter().chain(&base).find(|(n, _)| *n == name);
            set.map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn defaults() {
        let config = read(&[]).unwrap();
        assert_eq!(config.lake, LakeAddress::S3 { bucket: "bucket".into(), prefix: "lake".into() });
        assert_eq!(config.catalog, CatalogAddress::InLake);
        assert_eq!(config.tables, ["clickstream"]);
        assert_eq!(config.deadline_reserve, Reserve::Default);
        assert_eq!(config.stream_identity, StreamIdentity::Ask);
    }

    #[test]
    fn settings_are_read() {
        let config = read(&[
            ("WEIR_LAKE", "file:///tmp/lake"),
            ("WEIR_CATALOG", "glue://db"),
            ("WEIR_TABLE", ""),
            ("WEIR_TABLES", "a, b_2"),
            ("WEIR_STREAM_IDENTITY", "2026-11-20"),
            ("WEIR_DEADLINE_RESERVE", "1500ms"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
        ])
        .unwrap();
        assert_eq!(config.lake, LakeAddress::Folder("/tmp/lake".into()));
        assert_eq!(config.catalog, CatalogAddress::Glue { database: "db".into() });
        assert_eq!(config.tables, ["a", "b_2"]);
        assert_eq!(config.stream_identity, StreamIdentity::Set("2026-11-20".into()));
        assert_eq!(config.deadline_reserve, Reserve::Set(Duration::from_millis(1500)));
        assert_eq!(config.aws.0, [("AWS_SECRET_ACCESS_KEY", "hush".to_owned())]);
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn bad_settings_are_named_with_an_example_that_works() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("WEIR_LAKE", "")], "WEIR_LAKE: is not set; example: WEIR_LAKE=s3://my-bucket/lake"),
            (&[("WEIR_LAKE", "/tmp/x")], "WEIR_LAKE: `/tmp/x` is no s3:// or file:/// address"),
            (&[("WEIR_LAKE", "s3:///x")], "WEIR_LAKE: `s3:///x` is no s3://"),
            (&[("WEIR_LAKE", "file://x")], "WEIR_LAKE: `file://x` is no s3://"),
            (&[("WEIR_CATALOG", "glue://")], "WEIR_CATALOG: `glue://` is no glue:// or file:/// address"),
            (&[("WEIR_TABLE", "")], "WEIR_TABLE: is not set, and neither is WEIR_TABLES"),
            (&[("WEIR_TABLES", "a")], "WEIR_TABLES: is set beside WEIR_TABLE; keep one"),
            (&[("WEIR_TABLE", "a,b")], "WEIR_TABLE: `a,b` is no table name"),
            (&[("WEIR_TABLE", "Clicks")], "WEIR_TABLE: `Clicks` is no table name"),
            (&[("WEIR_TABLE", ""), ("WEIR_TABLES", "a,,b")], "WEIR_TABLES: `` is no table name"),
            (&[("WEIR_TABLE", ""), ("WEIR_TABLES", "a,b,a")], "WEIR_TABLES: names a twice"),
            (&[("WEIR_DEADLINE_RESERVE", "2")], "WEIR_DEADLINE_RESERVE: `2` is no duration"),
            (&[("WEIR_DEADLINE_RESERVE", "s")], "WEIR_DEADLINE_RESERVE: `s` is no duration"),
        ];
        for (settings, expected) in cases {
            let message = read(settings).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{settings:?}: {message}");
            let (name, example) = message.rsplit_once("example: ").unwrap().1.split_once('=').unwrap();
            let cleared = if name == "WEIR_TABLES" { ("WEIR_TABLE", "") } else { ("WEIR_TABLES", "") };
            read(&[(name, example), cleared]).unwrap();
        }
    }

    #[test]
    fn the_reserve_never_eats_a_short_time_out() {
        let ms = Duration::from_millis;
        for (reserve, given, expected) in [
            (Reserve::Default, 60_000, 2_000),
            (Reserve::Default, 3_000, 600),
            (Reserve::Set(ms(5_000)), 60_000, 5_000),
            (Reserve::Set(ms(5_000)), 3_000, 3_000),
        ] {
            assert_eq!(reserve.of(ms(given)), ms(expected));
        }
    }

    #[test]
    fn a_missing_runtime_is_told_before_its_client_panics() {
        let all = |name: &str| RUNTIME_NAMES.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        check_runtime(all).unwrap();
        for (missing, _) in RUNTIME_NAMES {
            let message = check_runtime(|n| all(n).filter(|_| n != missing)).unwrap_err().to_string();
            assert!(message.starts_with(missing), "{message}");
        }
    }
}
