//! Lines of a function's output, in a file that does not grow without bound: what is full makes place
//! and is kept once, as `function.log.1`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Days of a busy stream, at one line of about a kilobyte an invocation.
pub(super) const MOST_BYTES: u64 = 64 << 20;

/// The open file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    most_bytes: u64,
}

impl LogFile {
    /// Go on with a file, or begin one.
    pub(super) fn open(path: &Path, most_bytes: u64) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, most_bytes })
    }

    /// Append a line. A full disk must not stop the function, whose data has its own way to say so.
    pub(super) fn line(&mut self, line: &str) {
        let more = line.len() as u64 + 1;
        if self.bytes + more > self.most_bytes && self.bytes > 0 {
            let _ = self.begin_anew();
        }
        if writeln!(self.file, "{line}").is_ok() {
            self.bytes += more;
        }
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        fs::rename(&self.path, old)?;
        *self = Self::open(&self.path, self.most_bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_makes_place_and_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("function.log");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let mut log = LogFile::open(&path, 12).unwrap();
        ["one", "two", "three", "four"].into_iter().for_each(|line| log.line(line));
        assert_eq!(
            (read("function.log.1"), read("function.log")),
            ("one\ntwo\n".into(), "three\nfour\n".into())
        );
        drop(log);
        let mut log = LogFile::open(&path, 12).unwrap();
        log.line("a line of more than all");
        assert_eq!(read("function.log.1"), "three\nfour\n");
        assert_eq!(read("function.log"), "a line of more than all\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
