//! Disks of a test's own: one that can be full, and one whose power can be cut. Each is mounted in a
//! mount namespace of its own, so that no mount outlives the test and none is seen outside. Needs
//! Linux, and the right to mount.

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
    namespaces: &'static [&'static str],
}

impl SmallDisk {
    /// A disk in memory of so many KiB, or a notice and `None` where this user may not mount: the
    /// test that asks then skips.
    pub fn of_kib(kib: u32) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"];
        Self::mounted(&["--user", "--mount"], &["--user", "--map-root-user", "--mount"], &mount)
    }

    /// A disk with the file system of an image (see [`Self::image`]), which is written when programs
    /// ask for it and else not for minutes. Only root may; else a notice and `None`.
    pub fn of_image(image: &Path) -> Option<Self> {
        let mount = ["-o", "loop,commit=600", image.to_str().unwrap()];
        Self::mounted(&["--mount"], &["--mount"], &mount)
    }

    /// An image of an empty ext4 file system of so many MiB, or a notice and `None`.
    pub fn image(path: &Path, mib: u64) -> Option<()> {
        std::fs::File::create(path).unwrap().set_len(mib << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(path).output();
        match made {
            Ok(made) if made.status.success() => Some(()),
            failed => {
                eprintln!("skipped: no file system could be made: {failed:?}");
                None
            }
        }
    }

    fn mounted(namespaces: &'static [&'static str], unshare: &[&str], mount: &[&str]) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("weir-disk-").tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let mut hold = Command::new("unshare");
        hold.args(unshare).args(["sh", "-c", "mount \"$@\" && echo mounted && exec sleep 900", "sh"]);
        hold.args(mount).arg(&disk);
        let mut holder = Running::start(&mut hold, &folder.path().join("log"));
        process::wait_until(Duration::from_secs(10), || {
            holder.written().contains("mounted") || !holder.is_running()
        });
        if holder.is_running() {
            return Some(Self { holder, folder, namespaces });
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
        enter.args(self.namespaces).args(["--preserve-credentials", "--target"]);
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
