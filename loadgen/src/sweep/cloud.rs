//! The sizes of a function in the cloud: its memory is changed and put back. While it is measured it
//! writes into a scratch lake, by settings that are put back with the memory.

use anyhow::{Context, Result, bail};
use weir::clock::{Clock, SystemClock};

use super::{Measured, SweepArgs, failed};
use crate::batch::Batch;
use crate::function::{Borrowed, CloudFunction, InvokeFailure, ReportLine, with_borrowed};
use crate::report::model::SweepSize;
use crate::scratch::ScratchLake;

use super::throttle::MB_PER_VCPU;

pub(super) async fn measure(
    name: &str,
    lake: &ScratchLake,
    args: &SweepArgs,
    batches: &[Batch],
) -> Result<Measured> {
    let function = CloudFunction::connect(name, &args.aws, args.update_patience)?;
    let streams = function.mapped_streams().await?;
    if !streams.is_empty() {
        bail!(
            "{name} reads {}, whose records would go into the scratch lake and be missing in its tables; measure a \
             copy of the function that nothing is mapped to, or disable the mapping meanwhile",
            streams.join(", ")
        );
    }
    let own = function.environment().await?.remove("WEIR_LAKE").unwrap_or_default();
    if overlap(&own, lake.url()) {
        bail!(
            "--scratch-lake {} and the function's own lake {own} overlap; give an address apart from it",
            lake.url()
        );
    }
    let sizes = with_borrowed(function, lake.settings(), async |borrowed| {
        let begun = SystemClock.now().millis();
        let mut sizes = Vec::new();
        for (round, &memory_mb) in args.memory.iter().enumerate() {
            // Another shard for each size and each sweep: the same records would be redeliveries.
            let shard = format!("shardId-{:09}{round:03}", begun % 1_000_000_000);
            sizes.push(size(borrowed, memory_mb, batches, &shard).await?);
        }
        Ok(sizes)
    });
    let sizes = sizes.await?;
    eprintln!("what was written is in {}; remove it when it is not needed", lake.url());
    Ok((name.to_owned(), "Lambda".to_owned(), 0, sizes))
}

/// Whether one address lies in the other.
fn overlap(a: &str, b: &str) -> bool {
    let folder = |url: &str| format!("{}/", url.trim_end_matches('/'));
    let (a, b) = (folder(a), folder(b));
    a.starts_with(&b) || b.starts_with(&a)
}

async fn size(borrowed: &mut Borrowed, memory_mb: u32, batches: &[Batch], shard: &str) -> Result<SweepSize> {
    let vcpu = f64::from(memory_mb) / MB_PER_VCPU;
    if let Err(why) = borrowed.renew(memory_mb as i32).await? {
        return Ok(failed(memory_mb, vcpu, why));
    }
    let mut reports: Vec<ReportLine> = Vec::new();
    for (i, batch) in batches.iter().enumerate() {
        let event = batch.event.replace("shardId-000000000000", shard);
        match borrowed.function.invoke(event.as_bytes(), &borrowed.stop).await {
            Ok(report) => reports.push(report),
            // Too little memory or time: the other sizes may have enough.
            Err(InvokeFailure::Function(why)) => {
                return Ok(failed(memory_mb, vcpu, format!("batch {}: {why}", i + 1)));
            }
            Err(InvokeFailure::Other(error)) => {
                return Err(error.context(format!("batch {} at {memory_mb} MB", i + 1)));
            }
        }
    }
    let (first, warm) = reports.split_first().context("no batch")?;
    Ok(SweepSize {
        memory_mb,
        vcpu,
        first_poll_ms: first.init_ms.or(first.restore_ms).unwrap_or(0.0),
        first_batch_ms: first.duration_ms,
        batches_ms: warm.iter().map(|r| r.duration_ms).collect(),
        cpu_ms: 0.0,
        resident_bytes: u64::from(reports.iter().map(|r| r.max_memory_mb).max().unwrap_or(0)) << 20,
        usd_per_million_events: 0.0,
        usd_per_gb: 0.0,
        batch: None,
        failed: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_lake_lies_apart_from_the_lake() {
        for (lake, scratch, expected) in [
            ("s3://b/lake", "s3://b/lake", true),
            ("s3://b/lake/", "s3://b/lake", true),
            ("s3://b/lake", "s3://b/lake/scratch", true),
            ("s3://b/lake", "s3://b", true),
            ("s3://b/lake", "s3://b/lake-scratch", false),
            ("s3://b/lake", "s3://c/lake", false),
            ("", "s3://b/scratch", false),
        ] {
            assert_eq!(overlap(lake, scratch), expected, "{lake} {scratch}");
        }
    }
}
