//! A share of the processors for one process, as Lambda gives one to each memory size.
//!
//! | kind | how | where |
//! |---|---|---|
//! | cgroup, version 2 | `cpu.max` of a group of its own | the hierarchy at `/sys/fs/cgroup` is writable |
//! | cgroup, version 1 | `cpu.cfs_quota_us` | the same at `/sys/fs/cgroup/cpu` |
//! | stop and go | SIGSTOP and SIGCONT in turn, 10 ms at least | anywhere; coarser, and for one processor at most |

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Memory that has one processor
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
pub(super) const MB_PER_VCPU: f64 = 1_769.0;

/// The kernel gives shares in periods of that length.
const PERIOD_US: u64 = 20_000;

/// How shares are given on this machine.
#[derive(Debug)]
pub(super) enum Throttle {
    /// A group of version 2, removed with this value.
    Cgroup2(PathBuf),
    /// A group of version 1.
    Cgroup1(PathBuf),
    /// By signals.
    StopAndGo,
}

impl Throttle {
    /// The best that this machine has.
    ///
    /// # Errors
    /// None that works, with the reason.
    pub(super) fn find() -> Result<Self> {
        let name = format!("weir-loadgen-{}", std::process::id());
        let two = Path::new("/sys/fs/cgroup").join(&name);
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() && fs::create_dir(&two).is_ok() {
            if two.join("cpu.max").exists() {
                return Ok(Self::Cgroup2(two));
            }
            let _ = fs::remove_dir(&two);
        }
        let one = Path::new("/sys/fs/cgroup/cpu").join(&name);
        if fs::create_dir(&one).is_ok() {
            if one.join("cpu.cfs_quota_us").exists() {
                return Ok(Self::Cgroup1(one));
            }
            let _ = fs::remove_dir(&one);
        }
        if cfg!(unix) {
            return Ok(Self::StopAndGo);
        }
        bail!(
            "this machine has neither cgroups that can be written nor signals: a share of a processor cannot be given here"
        )
    }

    /// In words.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Cgroup2(_) => "cgroup cpu.max",
            Self::Cgroup1(_) => "cgroup cpu.cfs_quota_us",
            Self::StopAndGo => "stop and go by signals, below one processor only",
        }
    }

    /// Let `command` start under a share of `vcpu` processors.
    ///
    /// # Errors
    /// A share that the kernel refuses.
    pub(super) fn limit(&self, vcpu: f64, command: &mut Command) -> Result<()> {
        let quota = ((vcpu * PERIOD_US as f64) as u64).max(1_000);
        let group = match self {
            Self::Cgroup2(group) => {
                write(&group.join("cpu.max"), &format!("{quota} {PERIOD_US}"))?;
                group
            }
            Self::Cgroup1(group) => {
                write(&group.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
                write(&group.join("cpu.cfs_quota_us"), &quota.to_string())?;
                group
            }
            Self::StopAndGo => return Ok(()),
        };
        let members = group.join("cgroup.procs");
        let file = File::options().write(true).open(&members);
        let file = file.with_context(|| format!("could not open {}", members.display()))?;
        // SAFETY: between fork and exec it only writes to an open file, which allocates nothing.
        unsafe {
            command.pre_exec(move || (&file).write_all(b"0"));
        }
        Ok(())
    }

    /// For a process that runs: what keeps it to its share until the value is dropped, where the
    /// kernel does not.
    pub(super) fn hold(&self, vcpu: f64, pid: u32) -> Option<Hold> {
        match self {
            Self::StopAndGo if vcpu < 1.0 => Some(Hold::new(vcpu, pid)),
            _ => None,
        }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        if let Self::Cgroup2(group) | Self::Cgroup1(group) = self {
            // Its processes have ended; the kernel may take a moment to see it.
            for _ in 0..50 {
                if fs::remove_dir(&*group).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {text} to {}", path.display()))
}

/// Stops a process and lets it go on, in turn.
#[derive(Debug)]
pub(super) struct Hold {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Hold {
    fn new(share: f64, pid: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let go = Duration::from_millis(10).max(Duration::from_micros((share * PERIOD_US as f64) as u64));
        let stop = go.mul_f64(1.0 / share - 1.0);
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(go);
                signal(pid, libc::SIGSTOP);
                std::thread::sleep(stop);
                signal(pid, libc::SIGCONT);
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: a signal to a child that is not waited for before the value that holds it is dropped.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Processor time over time by the clock of a busy process under a share. Whatever else the
    /// machine does can only make it smaller.
    fn share_taken(throttle: &Throttle, vcpu: f64) -> f64 {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]);
        throttle.limit(vcpu, &mut command).unwrap();
        let begun = Instant::now();
        #[allow(clippy::zombie_processes, reason = "wait4 below waits for it")]
        let child = command.spawn().unwrap();
        let hold = throttle.hold(vcpu, child.id());
        // SAFETY: waits for a child of this test; the structure is written before it is read.
        let used = unsafe {
            let mut used: libc::rusage = std::mem::zeroed();
            assert_eq!(libc::wait4(child.id() as i32, std::ptr::null_mut(), 0, &mut used), child.id() as i32);
            used
        };
        let took = begun.elapsed().as_secs_f64();
        drop(hold);
        let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        (seconds(used.ru_utime) + seconds(used.ru_stime)) / took
    }

    #[test]
    fn a_tenth_of_a_processor_is_not_exceeded() {
        for throttle in [Throttle::find().unwrap(), Throttle::StopAndGo] {
            let taken = share_taken(&throttle, 0.1);
            assert!(taken < 0.2, "{}: {taken}", throttle.describe());
        }
    }
}
