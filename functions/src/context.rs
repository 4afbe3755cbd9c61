//! The environment → a checked configuration, read once at init. The only place that reads it.

use std::time::Duration;

use weir::{Error, Result};

/// Settings of function `ingest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `WEIR_LAKE`: address of the lake.
    pub lake: String,
    /// `WEIR_TABLE` or `WEIR_TABLES`: tables fed by the stream.
    pub tables: Vec<String>,
    /// `WEIR_STREAM_IDENTITY`: what tells this incarnation of the stream from one made again under
    /// the same name (its creation time).
    pub stream_identity: String,
    /// `WEIR_DEADLINE_RESERVE`: time kept to commit what was built.
    pub deadline_reserve: Duration,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function: String,
    /// Options of the store: region, endpoint, credentials.
    pub store_options: Vec<(String, String)>,
}

/// Variables handed to the store as they are.
const STORE_VARIABLES: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ALLOW_HTTP",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

fn bad(setting: &'static str, problem: impl Into<String>, example: &'static str) -> Error {
    Error::Setting { setting: setting.into(), problem: problem.into(), example: example.into() }
}

/// The store options that an environment gives.
pub fn store_options(get: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    STORE_VARIABLES.iter().filter_map(|name| Some(((*name).to_lowercase(), get(name)?))).collect()
}

impl Config {
    /// Read and check everything.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the first setting that is missing or unreadable.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let text = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let lake = text("WEIR_LAKE").ok_or_else(|| bad("WEIR_LAKE", "is not set", "s3://my-lake/events"))?;
        if !["s3://", "file:///"].iter().any(|scheme| lake.starts_with(scheme)) {
            return Err(bad("WEIR_LAKE", format!("{lake:?} is no s3:// or file:/// address"), "s3://my-lake/events"));
        }
        let tables = text("WEIR_TABLES").or_else(|| text("WEIR_TABLE")).unwrap_or_default();
        let tables: Vec<_> =
            tables.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect();
        if tables.is_empty() {
            return Err(bad("WEIR_TABLE", "is not set", "clickstream"));
        }
        let deadline_reserve = match text("WEIR_DEADLINE_RESERVE") {
            None => Duration::from_secs(5),
            Some(v) => weir::schema::parse_duration(&v)
                .map_err(|problem| bad("WEIR_DEADLINE_RESERVE", format!("{v:?}: {problem}"), "5s"))?,
        };
        Ok(Self {
            lake,
            tables,
            stream_identity: text("WEIR_STREAM_IDENTITY").unwrap_or_default(),
            deadline_reserve,
            function: text("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "ingest".into()),
            store_options: store_options(get),
        })
    }

    /// Read the process's own environment.
    ///
    /// # Errors
    /// As [`Config::read`].
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn from_environment() -> Result<Self> {
        Self::read(&|name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_or_named() {
        let cases: &[(&[(&str, &str)], Result<&str, &str>)] = &[
            (&[("WEIR_LAKE", "s3://b/p"), ("WEIR_TABLE", "t")], Ok("t")),
            (&[("WEIR_LAKE", "s3://b/p"), ("WEIR_TABLES", " a, b ,")], Ok("a b")),
            (&[("WEIR_TABLE", "t")], Err("WEIR_LAKE: is not set; example: WEIR_LAKE=s3://my-lake/events")),
            (&[("WEIR_LAKE", "/tmp"), ("WEIR_TABLE", "t")], Err("WEIR_LAKE: \"/tmp\"")),
            (&[("WEIR_LAKE", "s3://b")], Err("WEIR_TABLE: is not set; example: WEIR_TABLE=clickstream")),
            (
                &[("WEIR_LAKE", "s3://b"), ("WEIR_TABLE", "t"), ("WEIR_DEADLINE_RESERVE", "soon")],
                Err("WEIR_DEADLINE_RESERVE: \"soon\""),
            ),
        ];
        for (environment, expected) in cases {
            let get = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            match (Config::read(&get), expected) {
                (Ok(config), Ok(tables)) => assert_eq!(config.tables.join(" "), *tables),
                (Err(error), Err(start)) => assert!(error.to_string().starts_with(start), "{error}"),
                (got, _) => panic!("{environment:?}: {got:?}"),
            }
        }
    }
}
