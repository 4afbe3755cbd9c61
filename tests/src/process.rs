//! Child processes that never outlive their test, free ports, and waits with an end.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// A running child; killed by its process id and waited for when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    /// Where its output begins in the log, which may hold that of others before it.
    begins: usize,
}

impl Running {
    /// Start `command` with both outputs going to the file `log`, without an input.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let begins = out.metadata().unwrap().len() as usize;
        let err = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|e| panic!("could not start {command:?}: {e}"));
        Self { child, log: log.to_path_buf(), begins }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, to both outputs.
    pub fn written(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.begins..).unwrap_or_default()).into_owned()
    }

    /// `SIGKILL`, as when a machine is lost; returns once it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `SIGTERM`, then the exit status.
    pub fn stop(mut self, within: Duration) -> ExitStatus {
        terminate(self.pid());
        self.wait(within)
    }

    /// The exit status, or a panic with the log after `within`.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        let ended = wait_until(within, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "process {} did not end within {within:?}:\n{}", self.pid(), self.written());
        status.unwrap()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Wait until its output holds `text`, or panic with the log after `within` or when it ends.
    pub fn wait_for_text(&mut self, text: &str, within: Duration) -> String {
        let mut written = String::new();
        let found = wait_until(within, || {
            let over = !self.is_running();
            written = self.written();
            written.contains(text) || over
        });
        assert!(found && written.contains(text), "no {text:?} within {within:?}:\n{written}");
        written
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Run to the end; panics with both outputs unless it succeeds. Returns what it wrote to stdout.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

/// Run to the end, whatever it answers.
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("could not start {command:?}: {e}"))
}

/// Ask a process to end.
pub fn terminate(pid: u32) {
    // SAFETY: a signal to a process id that this test started and has not waited for.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

/// What Ctrl-C sends to a process.
pub fn interrupt(pid: u32) {
    // SAFETY: a signal to a process id that this test started and has not waited for.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGINT) };
}

/// End a process at once, as when its machine is lost.
pub fn kill(pid: u32) {
    // SAFETY: a signal to a process id that was asked for just now, of a child of one this test started.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
}

/// Hold a process where it is; `resume` lets it go on.
pub fn pause(pid: u32) {
    // SAFETY: a signal to a process id that this test started and has not waited for.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGSTOP) };
}

/// Let a process go on that was held.
pub fn resume(pid: u32) {
    // SAFETY: a signal to a process id that this test started and has not waited for.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGCONT) };
}

/// Processes that a process has started and that run, in order of their ids.
pub fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    found.sort_unstable();
    found
}

/// A loopback port that nothing listens on now.
pub fn free_port() -> u16 {
    free_ports::<1>()[0]
}

/// Different loopback ports that nothing listens on now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until all are known, so that no two are the same.
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Whether something accepts connections on a loopback port.
pub fn accepts(port: u16) -> bool {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Ask every 20 ms until `done`, at most for `within`; whether it was done.
pub fn wait_until(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if done() {
            return true;
        }
        if begun.elapsed() > within {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
