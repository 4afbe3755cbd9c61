//! A function in the cloud: new environments are forced by a setting that changes, each is invoked,
//! and the REPORT lines are read from the log tail. The environment is put back at the end, also
//! after an error or Ctrl-C.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, LastUpdateStatus, LogType};

use super::{ColdArgs, ReportLine};
use crate::report::model::{Cold, ColdFunction, ColdPlace, ColdStart};
use crate::target::AwsArgs;

/// The setting that changes.
const MARK: &str = "WEIR_LOADGEN_COLD";
/// An event that no record is in: nothing is written.
const NO_RECORDS: &str = r#"{"Records":[]}"#;
/// A change of the configuration takes a second or two.
const UPDATE_PATIENCE: Duration = Duration::from_secs(120);

/// A function's configuration, as far as it is changed and put back here.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    pub(crate) client: Client,
    pub(crate) function: String,
    pub(crate) environment: HashMap<String, String>,
    pub(crate) memory_mb: i32,
}

/// One answer of an invoke with its log tail.
pub(crate) struct Invoked {
    pub(crate) report: ReportLine,
}

impl Configured {
    /// Read what stands now.
    pub(crate) async fn read(function: &str, aws: &AwsArgs) -> Result<Self> {
        let mut config = aws_sdk_lambda::Config::builder()
            .behavior_version(aws_sdk_lambda::config::BehaviorVersion::latest())
            .http_client(aws.http_client()?)
            .region(aws_sdk_lambda::config::Region::new(aws.region().to_owned()))
            .credentials_provider(aws.credentials()?);
        config.set_endpoint_url(aws.endpoint().map(str::to_owned));
        let client = Client::from_conf(config.build());
        let asked = client.get_function_configuration().function_name(function).send().await;
        let found = asked.map_err(|e| anyhow::anyhow!(crate::target::chain(&e)));
        let found = found
            .with_context(|| format!("could not read function {function}; give --region and credentials"))?;
        if let Some(error) = found.environment().and_then(|e| e.error()) {
            bail!(
                "the environment of {function} cannot be read ({}), so it could not be put back; give the role the \
                 key that encrypts it",
                error.message().unwrap_or("no reason")
            );
        }
        let mut environment = found.environment().and_then(|e| e.variables()).cloned().unwrap_or_default();
        // Left by a run that was killed.
        environment.remove(MARK);
        let memory_mb = found.memory_size().unwrap_or(128);
        Ok(Self { client, function: function.to_owned(), environment, memory_mb })
    }

    /// Set the mark and the memory, and wait until new environments have them.
    pub(crate) async fn set(&self, mark: Option<&str>, memory_mb: i32) -> Result<()> {
        let mut variables = self.environment.clone();
        variables.extend(mark.map(|mark| (MARK.to_owned(), mark.to_owned())));
        let environment = Environment::builder().set_variables(Some(variables)).build();
        self.wait_for_update().await?;
        let update = self.client.update_function_configuration().function_name(&self.function);
        let update = update.environment(environment).memory_size(memory_mb).send().await;
        update
            .map_err(|e| anyhow::anyhow!(crate::target::chain(&e)))
            .with_context(|| format!("could not change the configuration of {}", self.function))?;
        self.wait_for_update().await
    }

    /// Until no change is under way: another one would be refused.
    async fn wait_for_update(&self) -> Result<()> {
        let begun = std::time::Instant::now();
        loop {
            let asked = self.client.get_function_configuration().function_name(&self.function).send().await;
            let found = asked.map_err(|e| anyhow::anyhow!(crate::target::chain(&e)))?;
            match found.last_update_status() {
                None | Some(LastUpdateStatus::Successful) => return Ok(()),
                Some(LastUpdateStatus::Failed) => {
                    bail!(
                        "{} refused the change: {}",
                        self.function,
                        found.last_update_status_reason().unwrap_or("no reason")
                    )
                }
                Some(_) if begun.elapsed() > UPDATE_PATIENCE => {
                    bail!("{} did not take the change within two minutes", self.function)
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// As it was before.
    pub(crate) async fn restore(&self) -> Result<()> {
        self.set(None, self.memory_mb).await.context(format!(
            "the function was left changed: remove {MARK} from its environment and set its memory to {} MB",
            self.memory_mb
        ))
    }

    /// Invoke once and read the report of its log tail.
    pub(crate) async fn invoke(&self, payload: &[u8]) -> Result<Invoked> {
        let invoke = self.client.invoke().function_name(&self.function).log_type(LogType::Tail);
        let answer = invoke.payload(Blob::new(payload)).send().await;
        let answer = answer.map_err(|e| anyhow::anyhow!(crate::target::chain(&e)));
        let answer = answer.with_context(|| format!("could not invoke {}", self.function))?;
        if let Some(error) = answer.function_error() {
            let said = answer.payload().map(|p| String::from_utf8_lossy(p.as_ref()).into_owned());
            bail!("{} failed ({error}): {:.300}", self.function, said.unwrap_or_default());
        }
        let tail = answer.log_result().unwrap_or_default();
        let tail = base64_simd::STANDARD.decode_to_vec(tail).context("the log tail is no base64")?;
        let tail = String::from_utf8_lossy(&tail).into_owned();
        match ReportLine::find(&tail) {
            Some(report) => Ok(Invoked { report }),
            None => bail!("the log tail of {} holds no REPORT line", self.function),
        }
    }
}

pub(super) async fn measure(function: &str, args: &ColdArgs) -> Result<Cold> {
    let payload = match &args.payload {
        Some(file) => std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?,
        None => NO_RECORDS.into(),
    };
    let configured = Configured::read(function, &args.aws).await?;
    let measured = tokio::select! {
        measured = starts(&configured, &payload, args) => measured,
        stop = tokio::signal::ctrl_c() => stop.map_err(Into::into).and_then(|()| bail!("stopped; the function is put back")),
    };
    configured.restore().await?;
    let functions = vec![ColdFunction { name: function.to_owned(), starts: measured? }];
    Ok(Cold {
        place: ColdPlace::Lambda { memory_mb: configured.memory_mb as u32 },
        records: 0,
        baseline: false,
        functions,
    })
}

async fn starts(configured: &Configured, payload: &[u8], args: &ColdArgs) -> Result<Vec<ColdStart>> {
    let mut starts = Vec::new();
    for run in 0..args.runs {
        configured.set(Some(&run.to_string()), configured.memory_mb).await?;
        let mut reports = Vec::new();
        for _ in 0..args.batches.max(1) {
            reports.push(configured.invoke(payload).await?.report);
        }
        starts.push(of_reports(&reports).with_context(|| format!("start {}", run + 1))?);
    }
    Ok(starts)
}

fn of_reports(reports: &[ReportLine]) -> Result<ColdStart> {
    let Some(first) = reports.first() else { bail!("no report") };
    if first.init_ms.is_none() && first.restore_ms.is_none() {
        bail!("the first invocation met a warm environment: is something else invoking the function?");
    }
    Ok(ColdStart {
        process_ms: None,
        init_ms: first.init_ms.unwrap_or(0.0),
        batches_ms: reports.iter().map(|r| r.duration_ms).collect(),
        billed_ms: Some(first.billed_ms),
        restore_ms: first.restore_ms,
        resident_bytes: reports.iter().map(|r| u64::from(r.max_memory_mb) << 20).collect(),
    })
}
