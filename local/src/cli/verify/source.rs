//! A loaded file that is still there and unchanged, against the byte ranges that commits list and
//! the rows and dead letters that they count.

use std::io::{self, Read};

use anyhow::{Context, Result};

use weir::commit::PositionSet;
use weir::naming::stream_key;
use weir::verify::{ChainReport, Finding, Kind};

use crate::cli::lake::store_options;
use crate::ingest::{Packing, Source};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

pub(super) enum Outcome {
    Compared(Vec<Finding>),
    /// Why there is nothing to compare with.
    Gone(String),
}

/// What a file holds.
struct Contents {
    bytes: u64,
    /// Lines that are not blank.
    lines: u64,
}

pub(super) async fn compare(report: &ChainReport) -> Result<Outcome> {
    let Some(origin) = &report.origin else {
        let why = format!("{}: no file of it says which source it was loaded from", report.chain.prefix());
        return Ok(Outcome::Gone(why));
    };
    let (url, table) = (origin.stream.clone(), origin.table.clone());
    let chain = report.chain.stream.clone();
    let handle = tokio::runtime::Handle::current();
    let (address, options) = (url.clone(), store_options());
    let read = tokio::task::spawn_blocking(move || {
        let source = match Source::open(&address, &options, &handle) {
            Ok(source) => source,
            Err(error) => return Ok(Err(format!("{address}: {error:#}"))),
        };
        // The name of the chain holds the content's identity.
        let identity = format!("{}\n{}\n{}", source.url, source.identity, table);
        if stream_key(&source.name, &identity) != chain {
            return Ok(Err(format!("{address}: it has changed since it was loaded")));
        }
        contents(&source).map(Ok)
    });
    Ok(match read.await.context("reading the source panicked")?? {
        Ok(contents) => Outcome::Compared(findings(report, &url, &origin.table, &contents)),
        Err(why) => Outcome::Gone(why),
    })
}

fn findings(report: &ChainReport, url: &str, table: &str, contents: &Contents) -> Vec<Finding> {
    let way_out = format!("run `weir ingest {url} --table {table}` again: it loads what is missing");
    let listed = report.bytes.clone().unwrap_or_default();
    let whole = PositionSet::from_ranges(std::iter::once(0..contents.bytes));
    let end = match &listed {
        PositionSet::Ranges(ranges) => ranges.last().map_or(0, |range| range.end),
        PositionSet::Exact(_) => 0,
    };
    let mut findings = Vec::new();
    // Gaps in the middle are told by the chain itself, source or not.
    if end < contents.bytes {
        let problem = format!("bytes {end} to {} are in no commit", contents.bytes - 1);
        findings.push(Finding::new(Kind::MissingRange, url, problem, way_out));
    } else if end > contents.bytes {
        let problem = format!("commits list bytes up to {end}, the file has {}", contents.bytes);
        let way_out = "the commits are of another content: compare what `weir status` shows with the file";
        findings.push(Finding::new(Kind::PhantomRecords, url, problem, way_out));
    } else if whole.within(&listed) && report.intact && contents.lines != report.rows + report.quarantined {
        let (rows, quarantined) = (report.rows, report.quarantined);
        let problem = format!(
            "it has {} lines that are not blank, commits count {rows} rows and {quarantined} dead letters",
            contents.lines
        );
        let way_out = "load it into a fresh table and compare the two";
        findings.push(Finding::new(Kind::SourceCount, url, problem, way_out));
    }
    findings
}

fn contents(source: &Source) -> Result<Contents> {
    let failed = || format!("could not read {}", source.url);
    let mut reader: Box<dyn Read + Send> = match source.packing {
        Packing::Plain => Box::new(source.reader()),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source.reader())),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(source.reader()).with_context(failed)?),
    };
    let (mut contents, mut buf, mut blank) = (Contents { bytes: 0, lines: 0 }, vec![0; CHUNK], true);
    loop {
        let n = match reader.read(&mut buf) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).with_context(failed),
        };
        if n == 0 {
            contents.lines += u64::from(!blank);
            return Ok(contents);
        }
        contents.bytes += n as u64;
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', &buf[..n]) {
            blank = blank && buf[start..newline].iter().all(u8::is_ascii_whitespace);
            contents.lines += u64::from(!blank);
            (blank, start) = (true, newline + 1);
        }
        blank = blank && buf[start..n].iter().all(u8::is_ascii_whitespace);
    }
}
