//! Crawlers and jobs: started at most once for an id where that can be told, or why not.

use std::collections::HashMap;

use aws_sdk_glue::types as glue;

use super::client::{GlueClient, once};
use super::failure::{code, failed};
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
const RUN_PAGE: i32 = 200;
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
        if let Some(state @ (glue::CrawlerState::Running | glue::CrawlerState::Stopping)) = &crawler.state {
            return Ok(busy(&state.as_str().to_ascii_lowercase()));
        }
        let request = self.get()?.start_crawler().name(name).customize().config_override(once());
        match request.send().await {
            Ok(_) => Ok(Start::Started { run: format!("crawler {name}") }),
            Err(e) => match code(&e) {
                // Another started it since it was asked: that run began without this partition.
                Some("CrawlerRunningException") => Ok(busy("running")),
                Some("CrawlerStoppingException") => Ok(busy("stopping")),
                Some("EntityNotFoundException") => Ok(Start::Refused { reason: no_crawler(name) }),
                _ => refused_or(failed("start crawler", name, "glue:StartCrawler", &e)),
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
        let request = self
            .get()?
            .start_job_run()
            .job_name(&run.job)
            .set_arguments(Some(run.arguments.clone()))
            .customize()
            .config_override(once());
        let job = &run.job;
        match request.send().await {
            Ok(answer) => Ok(Start::Started { run: answer.job_run_id.unwrap_or_default() }),
            Err(e) => match code(&e) {
                Some("ConcurrentRunsExceededException") => {
                    Ok(Start::Busy { reason: format!("job {job} has as many runs as it may have at once") })
                }
                Some("ResourceNumberLimitExceededException") => Ok(Start::Busy {
                    reason: "the account has as many runs of jobs as it may have".to_owned(),
                }),
                Some("EntityNotFoundException") => Ok(Start::Refused {
                    reason: format!("there is no job {job}; make it, or {}", run.otherwise),
                }),
                _ => refused_or(failed("start job", job, "glue:StartJobRun", &e)),
            },
        }
    }

    /// The run that carries the id.
    async fn find_run(&self, run: &JobRun) -> Result<Option<String>> {
        let mut token = None;
        for _ in 0..RUN_PAGES {
            let request =
                self.get()?.get_job_runs().job_name(&run.job).max_results(RUN_PAGE).set_next_token(token);
            let page = match request.send().await {
                Ok(page) => page,
                // The start says so.
                Err(e) if code(&e) == Some("EntityNotFoundException") => return Ok(None),
                Err(e) => return Err(failed("list runs of job", &run.job, "glue:GetJobRuns", &e)),
            };
            let carries = |r: &&glue::JobRun| {
                r.arguments().and_then(|a| a.get(&run.id_argument)).is_some_and(|id| *id == run.id)
            };
            if let Some(found) = page.job_runs().iter().find(carries) {
                return Ok(Some(found.id().unwrap_or_default().to_owned()));
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(None)
    }

    async fn crawler(&self, name: &str) -> Result<Option<glue::Crawler>> {
        match self.get()?.get_crawler().name(name).send().await {
            Ok(answer) => Ok(answer.crawler),
            Err(e) if code(&e) == Some("EntityNotFoundException") => Ok(None),
            Err(e) => Err(failed("get crawler", name, "glue:GetCrawler", &e)),
        }
    }
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

fn overlap(crawler: &glue::Crawler, lake: &str) -> Option<String> {
    let targets = crawler.targets()?;
    let name = crawler.name().unwrap_or_default();
    let mut paths: Vec<(&str, &[String])> = Vec::new();
    for target in targets.s3_targets() {
        paths.push((target.path().unwrap_or_default(), target.exclusions()));
    }
    for target in targets.delta_targets() {
        paths.extend(target.delta_tables().iter().map(|path| (path.as_str(), &[][..])));
    }
    for target in targets.iceberg_targets() {
        paths.extend(target.paths().iter().map(|path| (path.as_str(), target.exclusions())));
    }
    for target in targets.hudi_targets() {
        paths.extend(target.paths().iter().map(|path| (path.as_str(), target.exclusions())));
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
