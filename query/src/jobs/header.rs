//! The comment at the top of a job's file → what it reads, fills and opens.
//!
//! | line | meaning |
//! |---|---|
//! | `-- source: clickstream` | table whose closed partition is read |
//! | `-- target: clickstream_pages` | table whose partition of the same values is replaced |
//! | `-- keys: hour_start, page` | columns of the result that no two rows share; rows are sorted by them |
//! | `-- unnest: items as item` | makes table `item`: the source's columns but `items`, and one element a row |
//! | `-- version: 2` | raised when the SQL changes, so that its results replace the older ones |
//!
//! Other comment lines are free text.

use super::{Finding, JobError};

/// Revisions of a source count below this; a job's version above.
const VERSION_STEP: u32 = 100_000;

/// A job's file, read but not checked against its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The file's name without its ending.
    pub name: String,
    /// Table that is read.
    pub source: String,
    /// Table that is filled.
    pub target: String,
    /// Columns that no two rows of the result share.
    pub keys: Vec<String>,
    /// Array that is opened.
    pub unnest: Option<Unnest>,
    /// Counted up by whoever changes what the SQL means.
    pub version: u32,
    /// The whole file.
    pub sql: String,
}

/// `-- unnest: items as item`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnest {
    /// The array.
    pub column: String,
    /// Name of the table that has one row for each element.
    pub name: String,
    /// Where it stands.
    pub line: u64,
}

impl Job {
    /// Read the file of that name.
    ///
    /// # Errors
    /// A line of the header is missing or cannot be read.
    pub fn parse(name: &str, sql: &str) -> Result<Self, JobError> {
        let header = Header::read(name, sql)?;
        let (keys_line, keys) = header.required(KEYS)?;
        let keys: Vec<String> = keys.split(',').map(|key| key.trim().to_owned()).collect();
        if let Some(wrong) = keys.iter().find(|key| !is_name(key)) {
            let reason = format!("`{wrong}` is no column");
            return Err(refuse(name, keys_line, reason, "write `-- keys: hour_start, page`"));
        }
        Ok(Self {
            source: header.named(SOURCE)?,
            target: header.named(TARGET)?,
            keys,
            unnest: header.unnest()?,
            version: header.version()?,
            name: name.to_owned(),
            sql: sql.to_owned(),
        })
    }

    /// `jobs/NAME.sql`, for messages.
    pub fn file(&self) -> String {
        file_of(&self.name)
    }

    /// Revision of the output that this job makes of a revision of its source: the same for its first
    /// version, and above all of the versions before for later ones. So an old run that wakes up never
    /// replaces a newer one's rows, and a changed job replaces its old results.
    pub fn output_revision(&self, source_revision: u32) -> u32 {
        (self.version - 1) * VERSION_STEP + source_revision.min(VERSION_STEP - 1)
    }
}

/// Lines that a header may have, with examples.
const NAMES: [(&str, &str); 5] = [
    ("source", "clickstream"),
    ("target", "clickstream_pages"),
    ("keys", "hour_start, page"),
    ("unnest", "items as item"),
    ("version", "2"),
];
const SOURCE: usize = 0;
const TARGET: usize = 1;
const KEYS: usize = 2;
const UNNEST: usize = 3;
const VERSION: usize = 4;

/// The values of [`NAMES`], each with its line.
struct Header<'a> {
    job: &'a str,
    found: [Option<(u64, &'a str)>; NAMES.len()],
}

impl<'a> Header<'a> {
    fn read(job: &'a str, sql: &'a str) -> Result<Self, JobError> {
        let mut found = [None; NAMES.len()];
        for (line, text) in (1..).zip(sql.lines()) {
            let Some(comment) = text.strip_prefix("--") else {
                if text.trim().is_empty() { continue } else { break }
            };
            let Some((setting, value)) = setting(comment) else { continue };
            let Some(at) = NAMES.iter().position(|(name, _)| *name == setting) else {
                let names = NAMES.map(|(name, _)| name).join(", ");
                let way_out =
                    format!("the header knows {names}; free text has no colon after its first word");
                return Err(refuse(job, line, format!("there is no header line `{setting}`"), &way_out));
            };
            if found[at].is_some() {
                return Err(refuse(job, line, format!("`{setting}` stands there twice"), "keep one"));
            }
            found[at] = Some((line, value));
        }
        Ok(Self { job, found })
    }

    fn required(&self, at: usize) -> Result<(u64, &'a str), JobError> {
        let (name, example) = NAMES[at];
        let way_out = format!("begin the file with `-- {name}: {example}`");
        self.found[at].ok_or_else(|| refuse(self.job, 1, format!("the header has no `{name}`"), &way_out))
    }

    fn named(&self, at: usize) -> Result<String, JobError> {
        let (line, value) = self.required(at)?;
        let (name, example) = NAMES[at];
        let way_out = format!("write `-- {name}: {example}`");
        if is_name(value) {
            Ok(value.to_owned())
        } else {
            Err(refuse(self.job, line, format!("`{value}` is no name"), &way_out))
        }
    }

    fn unnest(&self) -> Result<Option<Unnest>, JobError> {
        let Some((line, text)) = self.found[UNNEST] else { return Ok(None) };
        match text.split_once(" as ").map(|(column, name)| (column.trim(), name.trim())) {
            Some((column, name)) if is_name(column) && is_name(name) && column != name => {
                Ok(Some(Unnest { column: column.to_owned(), name: name.to_owned(), line }))
            }
            _ => {
                let reason = format!("`{text}` opens nothing");
                Err(refuse(self.job, line, reason, "write `-- unnest: items as item`"))
            }
        }
    }

    fn version(&self) -> Result<u32, JobError> {
        let Some((line, text)) = self.found[VERSION] else { return Ok(1) };
        match text.parse() {
            Ok(version @ 1..=9_999) => Ok(version),
            _ => {
                let reason = format!("`{text}` is no version");
                Err(refuse(self.job, line, reason, "write a number from 1 to 9999"))
            }
        }
    }
}

fn refuse(job: &str, line: u64, reason: String, way_out: &str) -> JobError {
    JobError::Refused(vec![Finding { file: file_of(job), line, reason, way_out: way_out.to_owned() }])
}

fn file_of(name: &str) -> String {
    format!("jobs/{name}.sql")
}

/// `name: value`, with nothing but a word before the colon.
fn setting(comment: &str) -> Option<(&str, &str)> {
    let (name, value) = comment.trim().split_once(": ")?;
    let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
    word.then_some((name, value.trim()))
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-- What it is: a text.\n-- source: s\n-- target: t\n-- keys: a, b\n";

    #[test]
    fn a_header_is_read() {
        let sql = format!("{GOOD}-- unnest: items as item\n-- version: 3\nSELECT a\n-- keys: not here\n");
        let job = Job::parse("j", &sql).unwrap();
        assert_eq!((job.source.as_str(), job.target.as_str(), job.file().as_str()), ("s", "t", "jobs/j.sql"));
        assert_eq!(job.keys, ["a", "b"]);
        assert_eq!(job.unnest, Some(Unnest { column: "items".into(), name: "item".into(), line: 5 }));
        assert_eq!((job.output_revision(2), job.version), (200_002, 3));
        let job = Job::parse("j", GOOD).unwrap();
        assert_eq!((job.output_revision(7), job.unnest), (7, None));
    }

    #[test]
    fn a_wrong_header_is_refused_with_its_line() {
        for (header, expected) in [
            (
                "-- target: t\n-- keys: a",
                "jobs/j.sql:1: the header has no `source`; begin the file with `-- source: clickstream`",
            ),
            (
                "-- source: S\n-- target: t\n-- keys: a",
                "jobs/j.sql:1: `S` is no name; write `-- source: clickstream`",
            ),
            ("-- source: s\n-- source: t", "jobs/j.sql:2: `source` stands there twice; keep one"),
            (
                "-- sources: s",
                "jobs/j.sql:1: there is no header line `sources`; the header knows source, target",
            ),
            (
                &format!("{GOOD}-- unnest: items"),
                "jobs/j.sql:5: `items` opens nothing; write `-- unnest: items as item`",
            ),
            (&format!("{GOOD}-- version: 0"), "jobs/j.sql:5: `0` is no version"),
            ("-- source: s\n-- target: t\n-- keys: a b", "jobs/j.sql:3: `a b` is no column"),
        ] {
            let error = Job::parse("j", header).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
