//! Crawlers and jobs: started at most once for an id where that can be told, or why not.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::client::GlueClient;
use super::turn;
use crate::error::{Error, Result};

/// What became of a start.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It runs, or did.
    Started {
        /// Its id, or what is known of it.
        run: String,
    },
    /// It runs for another, or as many run as may.
    Busy {
        /// Why.
        reason: String,
    },
    /// It cannot be started as it is.
    Refused {
        /// Why, with the way out.
        reason: String,
    },
}

/// A run of a job.
#[derive(Debug, Clone)]
pub struct JobRun {
    /// The job's name.
    pub job: String,
    /// What to do where it shall not be made: `take … out of …`.
    pub otherwise: String,
    /// The argument that tells this run from any other (`--weir_action`) …
    pub id_argument: String,
    /// … and its value.
    pub id: String,
    /// All arguments, that one among them.
    pub arguments: HashMap<String, String>,
    /// Whether an earlier try may have started it.
    pub repeated: bool,
}

/// Runs of one page of a job's runs: the service's most.
const RUN_PAGE: usize = 200;
/// Pages that are searched for an earlier start, newest first: a partition's revision waits less
/// long than a job has 2,000 runs.
const RUN_PAGES: usize = 10;

impl GlueClient {
    /// Why a crawler must not be started with the lake at `lake`, if so: crawlers always make tables
    /// and partitions of their own where they look, whatever their policy.
    pub async fn crawler_overlap(&self, name: &str, lake: &str) -> Result<Option<String>> {
        Ok(match self.crawler(name).await? {
            Some(crawler) => overlap(&crawler, lake),
            None => Some(no_crawler(name)),
        })
    }

    /// Start a crawler that does not run and stays out of the lake at `lake`.
    pub async fn start_crawler(&self, name: &str, lake: &str) -> Result<Start> {
        let Some(crawler) = self.crawler(name).await? else {
            return Ok(Start::Refused { reason: no_crawler(name) });
        };
        if let Some(reason) = overlap(&crawler, lake) {
            return Ok(Start::Refused { reason });
        }
        let busy = |state: &str| Start::Busy {
            reason: format!("crawler {name} is {state}; it is started when it is ready again"),
        };
        if let Some(state @ ("RUNNING" | "STOPPING")) = crawler.state.as_deref() {
            return Ok(busy(&state.to_ascii_lowercase()));
        }
        match self.tell_once("StartCrawler", &json!({"Name": name})).await {
            Ok(()) => Ok(Start::Started { run: format!("crawler {name}") }),
            Err(e) => match e.code() {
                // Another started it since it was asked: that run began without this partition.
                Some("CrawlerRunningException") => Ok(busy("running")),
                Some("CrawlerStoppingException") => Ok(busy("stopping")),
                Some("EntityNotFoundException") => Ok(Start::Refused { reason: no_crawler(name) }),
                _ => refused_or(e.of("start crawler", name, "glue:StartCrawler")),
            },
        }
    }

    /// Start a job's run, unless one with its id is there.
    pub async fn start_job(&self, run: &JobRun) -> Result<Start> {
        if run.repeated
            && let Some(found) = self.find_run(run).await?
        {
            return Ok(Start::Started { run: found });
        }
        let job = &run.job;
        let body = json!({"JobName": job, "Arguments": run.arguments});
        match self.call_once::<StartedRun>("StartJobRun", &body).await {
            Ok(answer) => Ok(Start::Started { run: answer.job_run_id.unwrap_or_default() }),
            Err(e) => match e.code() {
                Some("ConcurrentRunsExceededException") => {
                    Ok(Start::Busy { reason: format!("job {job} has as many runs as it may have at once") })
                }
                Some("ResourceNumberLimitExceededException") => Ok(Start::Busy {
                    reason: "the account has as many runs of jobs as it may have".to_owned(),
                }),
                Some("EntityNotFoundException") => Ok(Start::Refused {
                    reason: format!("there is no job {job}; make it, or {}", run.otherwise),
                }),
                _ => refused_or(e.of("start job", job, "glue:StartJobRun")),
            },
        }
    }

    /// The run that carries the id.
    async fn find_run(&self, run: &JobRun) -> Result<Option<String>> {
        let mut body = json!({"JobName": run.job, "MaxResults": RUN_PAGE});
        for _ in 0..RUN_PAGES {
            let page = match self.call::<RunPage>("GetJobRuns", &body).await {
                Ok(page) => page,
                // The start says so.
                Err(e) if e.code() == Some("EntityNotFoundException") => return Ok(None),
                Err(e) => return Err(e.of("list runs of job", &run.job, "glue:GetJobRuns")),
            };
            let carries = |r: &ListedRun| {
                let arguments = r.arguments.as_ref();
                arguments.and_then(|a| a.get(&run.id_argument)).is_some_and(|id| *id == run.id)
            };
            if let Some(found) = page.job_runs.into_iter().flatten().find(carries) {
                return Ok(Some(found.id.unwrap_or_default()));
            }
            let more = turn(&mut body, page.next_token);
            if !more.map_err(|e| e.of("list runs of job", &run.job, "glue:GetJobRuns"))? {
                break;
            }
        }
        Ok(None)
    }

    async fn crawler(&self, name: &str) -> Result<Option<Crawler>> {
        match self.call::<FoundCrawler>("GetCrawler", &json!({"Name": name})).await {
            Ok(answer) => Ok(answer.crawler),
            Err(e) if e.code() == Some("EntityNotFoundException") => Ok(None),
            Err(e) => Err(e.of("get crawler", name, "glue:GetCrawler")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartedRun {
    job_run_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunPage {
    job_runs: Option<Vec<ListedRun>>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedRun {
    id: Option<String>,
    arguments: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FoundCrawler {
    crawler: Option<Crawler>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Crawler {
    name: Option<String>,
    /// `READY`, `RUNNING` or `STOPPING`.
    state: Option<String>,
    targets: Option<Targets>,
}

/// What a crawler looks at in S3, by the kind of table.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Targets {
    s3_targets: Option<Vec<Target>>,
    delta_targets: Option<Vec<Target>>,
    iceberg_targets: Option<Vec<Target>>,
    hudi_targets: Option<Vec<Target>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Target {
    /// Of S3 …
    path: Option<String>,
    /// … of Iceberg and Hudi …
    paths: Option<Vec<String>>,
    /// … and of Delta.
    delta_tables: Option<Vec<String>>,
    exclusions: Option<Vec<String>>,
}

/// `s3://bucket/prefix` without a slash at its end, whatever scheme S3 was given.
pub(super) fn plain(address: &str) -> String {
    let address = address.trim_end_matches('/');
    match address.split_once("://") {
        Some(("s3a" | "s3n", rest)) => format!("s3://{rest}"),
        _ => address.to_owned(),
    }
}

/// What a person has to change is told with the partition; a bad moment stays one.
fn refused_or(error: Error) -> Result<Start> {
    if error.retryable() {
        return Err(error);
    }
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Ok(Start::Refused { reason: format!("{error}{cause}") })
}

fn no_crawler(name: &str) -> String {
    format!("there is no crawler {name}; make it, or take `crawler:{name}` out of `weir.on_close`")
}

fn overlap(crawler: &Crawler, lake: &str) -> Option<String> {
    let targets = crawler.targets.as_ref()?;
    let name = crawler.name.as_deref().unwrap_or_default();
    let kinds =
        [&targets.s3_targets, &targets.delta_targets, &targets.iceberg_targets, &targets.hudi_targets];
    let mut paths: Vec<(&str, &[String])> = Vec::new();
    for target in kinds.into_iter().flatten().flatten() {
        let excluded = target.exclusions.as_deref().unwrap_or_default();
        let many = target.paths.iter().chain(&target.delta_tables).flatten();
        paths.extend(target.path.iter().chain(many).map(|path| (path.as_str(), excluded)));
    }
    let covering = paths.iter().find(|(path, excluded)| covers(path, excluded, lake))?;
    Some(format!(
        "crawler {name} looks at {}, which overlaps the lake {lake}: it would make tables and partitions of its own \
         there; point it at another prefix, or exclude the lake's",
        covering.0
    ))
}

/// Whether a crawler's path and the lake have objects in common.
fn covers(path: &str, excluded: &[String], lake: &str) -> bool {
    let (path, lake) = (plain(path), plain(lake));
    if within(&path, &lake) {
        return true;
    }
    let Some(below) = lake.strip_prefix(&path).filter(|_| within(&lake, &path)) else { return false };
    let below = below.trim_start_matches('/');
    let leaves_out = |pattern: &String| {
        pattern.strip_suffix("/**").is_some_and(|folder| {
            let folder = folder.trim_start_matches('/');
            !folder.is_empty() && !folder.contains(['*', '?', '[', '{']) && within(below, folder)
        })
    };
    !excluded.iter().any(leaves_out)
}

/// Whether `inner` is `outer` or a folder below it.
fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawler_overlaps_a_lake_if_either_holds_the_other() {
        let cases: [(&str, &[&str], &str, bool); 13] = [
            ("s3://b/lake", &[], "s3://b/lake", true),
            ("s3://b/lake/", &[], "s3://b/lake", true),
            ("s3a://b/lake/clicks/live", &[], "s3://b/lake", true),
            ("s3://b", &[], "s3://b/lake", true),
            ("s3://b/", &[], "s3://b", true),
            ("s3://b/lake2", &[], "s3://b/lake", false),
            ("s3://b/raw", &[], "s3://b/lake", false),
            ("s3://c/lake", &[], "s3://b/lake", false),
            ("s3://b/", &["lake/**"], "s3://b/lake", false),
            ("s3://b/", &["lake/**"], "s3://b/lake/x", false),
            ("s3://b/", &["lake/x/**"], "s3://b/lake", true),
            ("s3://b/", &["lak*/**", "**"], "s3://b/lake", true),
            ("s3://b/lake/x", &["x/**"], "s3://b/lake", true),
        ];
        for (path, excluded, lake, expected) in cases {
            let excluded: Vec<String> = excluded.iter().map(|e| (*e).to_owned()).collect();
            assert_eq!(covers(path, &excluded, lake), expected, "{path} {excluded:?} {lake}");
        }
    }
}
