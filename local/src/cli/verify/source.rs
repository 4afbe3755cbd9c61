//! A loaded file that is still there and unchanged, against the byte ranges that commits list and
//! the rows and dead letters that they count.

use std::io::{self, Read};

use anyhow::{Context, Result};

use weir::naming::stream_key;
use weir::verify::{ChainReport, Finding, SourceContents, compare_source};

use crate::cli::lake::store_options;
use crate::ingest::{Packing, Source};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

pub(super) enum Outcome {
    Compared(Vec<Finding>),
    /// Why there is nothing to compare with.
    Gone(String),
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
        Ok(contents) => Outcome::Compared(compare_source(report, origin, contents)),
        Err(why) => Outcome::Gone(why),
    })
}

fn contents(source: &Source) -> Result<SourceContents> {
    let failed = || format!("could not read {}", source.url);
    let mut reader: Box<dyn Read + Send> = match source.packing {
        Packing::Plain => Box::new(source.reader()),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source.reader())),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(source.reader()).with_context(failed)?),
    };
    let (mut contents, mut buf, mut blank) = (SourceContents { bytes: 0, lines: 0 }, vec![0; CHUNK], true);
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
