//! A function in the cloud: new environments are forced by a setting that changes, each is invoked,
//! and what the service reports of it is read from the log tail.

use anyhow::{Context, Result, bail};

use super::ColdArgs;
use crate::function::{Borrowed, CloudFunction, ReportLine, with_borrowed};
use crate::report::model::{Cold, ColdFunction, ColdPlace, ColdStart};

/// An event that no record is in: nothing is written.
const NO_RECORDS: &str = r#"{"Records":[]}"#;
/// A start whose first invocation met an environment that was there is made again so often.
const TRIES: u32 = 5;

pub(super) async fn measure(name: &str, args: &ColdArgs) -> Result<Cold> {
    let payload = match &args.payload {
        Some(file) => std::fs::read(file)
            .with_context(|| format!("could not read {}; --payload takes a file of JSON", file.display()))?,
        None => NO_RECORDS.into(),
    };
    let function = CloudFunction::connect(name, &args.aws, args.update_patience)?;
    with_borrowed(function, Vec::new(), async |borrowed| {
        let mut starts = Vec::new();
        for run in 0..args.runs {
            let start = start(borrowed, &payload, args.batches.max(1)).await;
            starts.push(start.with_context(|| format!("start {} of {}", run + 1, args.runs))?);
        }
        let place = ColdPlace::Lambda { memory_mb: borrowed.memory_mb() as u32 };
        let functions = vec![ColdFunction { name: name.to_owned(), starts }];
        Ok(Cold { place, records: 0, baseline: false, functions })
    })
    .await
}

async fn start(borrowed: &mut Borrowed, payload: &[u8], batches: u32) -> Result<ColdStart> {
    for _ in 0..TRIES {
        if let Err(why) = borrowed.renew(borrowed.memory_mb()).await? {
            bail!("{} refuses another environment variable: {why}", borrowed.function.name);
        }
        let mut reports = vec![borrowed.function.invoke(payload, &borrowed.stop).await?];
        if !reports[0].is_cold() {
            continue;
        }
        for _ in 1..batches {
            reports.push(borrowed.function.invoke(payload, &borrowed.stop).await?);
        }
        return Ok(of_reports(&reports));
    }
    bail!(
        "{TRIES} times the first invocation met a warm environment: something else invokes {}, or it has provisioned \
         concurrency; stop that while it is measured",
        borrowed.function.name
    )
}

fn of_reports(reports: &[ReportLine]) -> ColdStart {
    let first = &reports[0];
    ColdStart {
        process_ms: None,
        init_ms: first.init_ms.unwrap_or(0.0),
        batches_ms: reports.iter().map(|r| r.duration_ms).collect(),
        billed_ms: Some(first.billed_ms),
        billed_start_ms: Some(first.billed_start_ms()),
        restore_ms: first.restore_ms,
        resident_bytes: reports.iter().map(|r| u64::from(r.max_memory_mb) << 20).collect(),
    }
}
