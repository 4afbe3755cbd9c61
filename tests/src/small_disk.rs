//! A disk of a few megabytes that can be full: a file system in memory, in a mount namespace of its
//! own, so that no mount outlives the test and none is seen outside. Needs Linux and user
//! namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Running};

/// The disk; gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    // Dropped in this order: what holds the namespace, then the mount point.
    holder: Running,
    folder: tempfile::TempDir,
}

const MOUNT: &str = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && echo mounted && exec sleep 900";

impl SmallDisk {
    /// A disk of so many KiB, or a notice and `None` where this user may not mount: the test that
    /// asks then skips.
    pub fn of_kib(kib: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("weir-disk-").tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let mut hold = Command::new("unshare");
        hold.args(["--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"]);
        hold.arg(format!("{kib}k")).arg(&disk);
        let mut holder = Running::start(&mut hold, &folder.path().join("log"));
        process::wait_until(Duration::from_secs(10), || {
            holder.written().contains("mounted") || !holder.is_running()
        });
        if holder.is_running() {
            return Some(Self { holder, folder });
        }
        eprintln!("skipped: this user may not mount a file system: {}", holder.written().trim());
        None
    }

    /// Where it is mounted, for those who [enter](Self::enter).
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// A folder beside it on a real disk.
    pub fn beside(&self) -> &Path {
        self.folder.path()
    }

    /// The same command where the disk is mounted.
    pub fn enter(&self, command: &Command) -> Command {
        let mut enter = Command::new("nsenter");
        enter.args(["--user", "--mount", "--preserve-credentials", "--target"]);
        enter.arg(self.holder.pid().to_string()).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => enter.env(name, value),
                None => enter.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            enter.current_dir(folder);
        }
        enter
    }

    /// Take all space that is left.
    pub fn fill(&self) {
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", self.path().join("ballast").display()));
        let answer = process::output(&mut self.enter(&dd));
        let text = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(text.contains("No space left"), "the disk is not full: {text}");
    }

    /// Give back what [`Self::fill`] took.
    pub fn free(&self) {
        process::run(&mut self.enter(Command::new("rm").arg(self.path().join("ballast"))));
    }

    /// Make it larger.
    pub fn grow_to_kib(&self, kib: u32) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={kib}k")]).arg(self.path());
        process::run(&mut self.enter(&mount));
    }
}
