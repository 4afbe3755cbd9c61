//! A Lambda host: events in, outcomes out. Each invocation has a process of its own that speaks the
//! Lambda Runtime API; a process serves one invocation after the other until it dies, is killed for
//! taking too long, or the host ends.

mod log;
mod process;
mod slot;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use weir::clock::Clock;

use super::poller::{Invoke, InvokeOutcome, uuid_form};
use log::{LogFile, MOST_BYTES};
pub use process::Program;
use process::{Output, Process, Starter};
use slot::{Invocation, Reply, Slot};

/// How often an event is offered to a new process when the old one died before it took the event.
const OFFERS: u32 = 3;

/// A function and how it is run.
#[derive(Clone)]
pub struct FunctionConfig {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// What to start.
    pub program: Program,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, in MB; told to the function, not enforced.
    pub memory_mb: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// How long a process may take from its start to its first poll.
    pub init_timeout: Duration,
    /// Most processes at a time.
    pub concurrency: usize,
    /// File that output lines are appended to.
    pub log_file: Option<PathBuf>,
    /// Whether output lines also go to stderr.
    pub verbose: bool,
    /// The clock for deadlines.
    pub clock: Arc<dyn Clock>,
}

/// One execution environment.
struct Environment {
    slot: Slot,
    process: Option<Process>,
}

/// A running host. Dropped, all its processes are killed.
pub struct FunctionHost {
    config: FunctionConfig,
    output: Output,
    starter: Starter,
    free: Semaphore,
    /// Free environments, the most recently used last.
    idle: Mutex<Vec<Environment>>,
    started: AtomicU64,
    invoked: AtomicU64,
    warming: AsyncMutex<()>,
}

impl FunctionHost {
    /// A host that has started nothing yet.
    pub fn new(config: FunctionConfig) -> anyhow::Result<Self> {
        let file = match &config.log_file {
            None => None,
            Some(path) => {
                let file = LogFile::open(path, MOST_BYTES);
                let file = file.with_context(|| format!("could not open the log file {}", path.display()))?;
                Some(Arc::new(Mutex::new(file)))
            }
        };
        Ok(Self {
            output: Output { file, echo: config.verbose, shown: Arc::default() },
            starter: Starter::new().context("could not start the thread that starts functions")?,
            free: Semaphore::new(config.concurrency.max(1)),
            config,
            idle: Mutex::default(),
            started: AtomicU64::new(0),
            invoked: AtomicU64::new(0),
            warming: AsyncMutex::new(()),
        })
    }

    /// Start one process and wait until it asks for its first event, so that a bad setting is found
    /// before any record is read.
    pub async fn warm(&self) -> anyhow::Result<()> {
        let _one_at_a_time = self.warming.lock().await;
        let mut environment = self.take_environment().await?;
        let init = environment.slot.wait_for_init();
        let mut process = self.start_process(&environment.slot).await?;
        let outcome = tokio::select! {
            biased;
            reply = init => match reply {
                Ok(Reply::Answer(_)) => Ok(()),
                Ok(Reply::Error(error) | Reply::InitError(error)) => Err(error),
                Err(_) => Err("it was not heard of".to_owned()),
            },
            ended = process.ended() => Err(format!("it ended before its first poll ({ended})")),
            () = tokio::time::sleep(self.config.init_timeout) => {
                Err(format!("it did not poll within {:?}", self.config.init_timeout))
            }
        };
        if let Err(error) = outcome {
            process.kill().await;
            let log = self.config.log_file.as_ref();
            let hint = log.map_or(String::new(), |path| format!("; its output is in {}", path.display()));
            bail!("function {} did not start: {error}{hint}", self.config.name);
        }
        environment.slot.clear();
        environment.process = Some(process);
        self.put_back(environment);
        Ok(())
    }

    /// Ids of the processes that run.
    pub fn process_ids(&self) -> Vec<u32> {
        self.starter.ids()
    }

    /// How many processes were started.
    pub fn processes_started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Kill every process of the function, as a fault would: invocations under way fail, and new
    /// processes are started when they are needed. Returns how many were killed.
    pub fn kill_processes(&self) -> usize {
        let ids = self.process_ids();
        for id in &ids {
            // SAFETY: kill has no memory effects; the id is that of an unreaped child of ours.
            unsafe { libc::kill(*id as libc::pid_t, libc::SIGKILL) };
        }
        ids.len()
    }

    async fn invoke_once(&self, event: Bytes) -> InvokeOutcome {
        let Ok(_permit) = self.free.acquire().await else { return InvokeOutcome::Throttled };
        let mut environment = match self.take_environment().await {
            Ok(environment) => environment,
            // Nothing was invoked, so nothing is held against the records.
            Err(_) => return InvokeOutcome::Throttled,
        };
        let outcome = self.run(&mut environment, event).await;
        environment.slot.clear();
        self.put_back(environment);
        outcome
    }

    async fn take_environment(&self) -> anyhow::Result<Environment> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(environment) = idle {
            return Ok(environment);
        }
        Ok(Environment { slot: self.open_slot().await?, process: None })
    }

    async fn open_slot(&self) -> anyhow::Result<Slot> {
        let slot = Slot::open(&self.config.arn, self.config.timeout, self.config.clock.clone()).await;
        slot.context("could not open a port for the Runtime API")
    }

    /// Offer `event` to the environment's process if it runs, else to a new one on a port of its
    /// own: the last words of a dead process must not reach its successor's desk. The offer is there
    /// before the new process starts, so that whatever it says finds who waits for it.
    async fn offer(
        &self,
        environment: &mut Environment,
        event: Bytes,
    ) -> anyhow::Result<(Process, Invocation)> {
        if let Some(mut process) = environment.process.take()
            && process.is_running()
        {
            return Ok((process, environment.slot.offer(self.request_id(), event)));
        }
        environment.slot = self.open_slot().await?;
        let invocation = environment.slot.offer(self.request_id(), event);
        Ok((self.start_process(&environment.slot).await?, invocation))
    }

    fn put_back(&self, environment: Environment) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(environment);
    }

    /// Run one invocation. A process that dies before it takes the event is not the event's fault.
    async fn run(&self, environment: &mut Environment, event: Bytes) -> InvokeOutcome {
        let mut why = String::new();
        for _ in 0..OFFERS {
            let (mut process, mut invocation) = match self.offer(environment, event.clone()).await {
                Ok(offered) => offered,
                Err(error) => return InvokeOutcome::FunctionError(format!("{error:#}")),
            };
            let taken = tokio::select! {
                biased;
                taken = &mut invocation.taken => taken.is_ok(),
                ended = process.ended() => { why = format!("Runtime exited: {ended}"); false }
                () = tokio::time::sleep(self.config.init_timeout) => {
                    why = format!("no poll within {:?}", self.config.init_timeout);
                    false
                }
            };
            if taken {
                return self.finish(environment, process, invocation.reply).await;
            }
            if let Ok(Reply::InitError(error)) = invocation.reply.try_recv() {
                why = error;
            }
            process.kill().await;
        }
        InvokeOutcome::FunctionError(format!("Runtime.InitError: {why}"))
    }

    async fn finish(
        &self,
        environment: &mut Environment,
        mut process: Process,
        reply: tokio::sync::oneshot::Receiver<Reply>,
    ) -> InvokeOutcome {
        let reply = tokio::select! {
            biased;
            reply = reply => reply.ok(),
            ended = process.ended() => {
                return InvokeOutcome::FunctionError(format!("Runtime.ExitError: Runtime exited: {ended}"));
            }
            () = tokio::time::sleep(self.config.timeout) => {
                process.kill().await;
                let seconds = self.config.timeout.as_secs_f64();
                return InvokeOutcome::FunctionError(format!("Task timed out after {seconds:.2} seconds"));
            }
        };
        environment.process = Some(process);
        match reply {
            Some(Reply::Answer(answer)) => InvokeOutcome::Answer(answer),
            Some(Reply::Error(error) | Reply::InitError(error)) => InvokeOutcome::FunctionError(error),
            None => InvokeOutcome::FunctionError("the function's reply was lost".to_owned()),
        }
    }

    async fn start_process(&self, slot: &Slot) -> anyhow::Result<Process> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let name = &self.config.name;
        let variables = [
            ("AWS_LAMBDA_RUNTIME_API", slot.address().to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.config.memory_mb.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("local/[$LATEST]{number}")),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_EXECUTION_ENV", "weir-local".to_owned()),
            ("_HANDLER", "bootstrap".to_owned()),
        ];
        let path = self.config.program.path.display();
        let started = self.starter.start(&self.config.program, &variables, &self.output).await;
        started.with_context(|| format!("could not start the function's program {path}"))
    }

    fn request_id(&self) -> String {
        let number = self.invoked.fetch_add(1, Ordering::Relaxed);
        let now = self.config.clock.now().0;
        uuid_form(&Sha256::digest(format!("{}/{now}/{number}", self.config.arn)))
    }
}

impl Invoke for FunctionHost {
    fn invoke(&self, event: Bytes) -> BoxFuture<'_, InvokeOutcome> {
        Box::pin(self.invoke_once(event))
    }
}
