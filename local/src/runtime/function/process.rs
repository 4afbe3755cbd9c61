//! A function's process: started with exactly the environment it is given, its output collected,
//! and never outliving its host.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::log::LogFile;

/// The program to start.
#[derive(Debug, Clone)]
pub struct Program {
    /// Path of the executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment, beside what the host adds.
    pub env: Vec<(String, String)>,
}

/// Where lines of a function's output go.
#[derive(Clone)]
pub(super) struct Output {
    pub(super) file: Option<Arc<Mutex<LogFile>>>,
    pub(super) echo: bool,
    /// Causes shown since an invocation last succeeded: an outage is shown once, not at every try.
    pub(super) shown: Arc<Mutex<BTreeSet<String>>>,
}

impl Output {
    fn line(&self, line: &str) {
        if let Some(file) = &self.file {
            file.lock().unwrap_or_else(PoisonError::into_inner).line(line);
        }
        if self.echo {
            let _ = writeln!(std::io::stderr(), "{line}");
        } else if let Some(error) = self.new_error(line) {
            let _ = writeln!(std::io::stderr(), "function: {error} (its records are delivered again)");
        }
    }

    /// The error that a function's line about an invocation tells, unless its cause was shown already.
    fn new_error(&self, line: &str) -> Option<String> {
        let told: serde_json::Value = serde_json::from_str(line).ok()?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = told.as_object()?.get("error").and_then(serde_json::Value::as_str) else {
            shown.clear();
            return None;
        };
        // What comes before the cause is the object, another one at each try.
        let cause = error.split_once(": ").map_or(error, |(_, cause)| cause);
        shown.insert(cause.to_owned()).then(|| error.to_owned())
    }

    async fn collect(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.line(&line);
        }
    }
}

/// A running process. Dropped, it is killed.
pub(super) struct Process {
    child: Child,
    id: u32,
    running: Running,
}

/// Ids of children that are not waited for yet, so that no id of another process is among them.
pub(super) type Running = Arc<Mutex<BTreeSet<u32>>>;

impl Drop for Process {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Process {
    /// Whether it runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Wait for its end.
    pub(super) async fn ended(&mut self) -> String {
        self.child.wait().await.map_or_else(|e| e.to_string(), describe)
    }

    /// End it and wait until it is gone.
    pub(super) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

type Job = (Command, oneshot::Sender<std::io::Result<Child>>);

/// Starts processes from one thread that lives as long as the host: the kernel kills a child when
/// the thread that started it ends, and the threads of an async runtime come and go.
pub(super) struct Starter {
    jobs: mpsc::Sender<Job>,
    running: Running,
}

impl Starter {
    pub(super) fn new() -> std::io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let runtime = Handle::current();
        let run = move || {
            let _entered = runtime.enter();
            for (mut command, answer) in received {
                let _ = answer.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("function-starter".to_owned()).spawn(run)?;
        Ok(Self { jobs, running: Running::default() })
    }

    /// Ids of the processes that run.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Start the program with further variables.
    pub(super) async fn start(
        &self,
        program: &Program,
        variables: &[(&str, String)],
        output: &Output,
    ) -> std::io::Result<Process> {
        let mut command = Command::new(&program.path);
        command.args(&program.args).env_clear();
        command.envs(program.env.iter().map(|(k, v)| (k, v)));
        command.envs(variables.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        die_with_host(&mut command);
        let (answer, started) = oneshot::channel();
        let gone = || std::io::Error::other("the thread that starts functions is gone");
        self.jobs.send((command, answer)).map_err(|_| gone())?;
        let mut child = started.await.map_err(|_| gone())??;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(output.clone().collect(stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(output.clone().collect(stderr));
        }
        let id = child.id().unwrap_or_default();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Ok(Process { child, id, running: self.running.clone() })
    }
}

#[cfg(target_os = "linux")]
fn die_with_host(command: &mut Command) {
    let host = std::process::id();
    let before_exec = move || {
        // SAFETY: both calls are async-signal-safe and touch no memory.
        let (set, parent) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        if set != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // The host may have died before the signal was asked for.
        if parent as u32 != host {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock on the way to exec.
    unsafe { command.pre_exec(before_exec) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_host(_command: &mut Command) {}
