//! What it costs that a put into a folder outlives a power cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use object_store::local::LocalFileSystem;
use weir::commit::LakeStore;
use weir::commit::store::Put;

use crate::conformance::runtime;

/// Put so many files of that size, each into a new folder, as many at a time as a commit does.
fn put_all(lake: &LakeStore, files: usize, kib: usize) -> Duration {
    let bytes = Bytes::from(vec![7; kib << 10]);
    let begun = Instant::now();
    runtime().block_on(async {
        let puts = (0..files).map(|n| {
            let (lake, bytes) = (lake.clone(), bytes.clone());
            let key = format!("t/live/dt=2026-11-{:02}/hour={n}/x.parquet", n / 24);
            async move { lake.put_if_absent(&key, bytes).await.unwrap() }
        });
        let puts: Vec<_> = stream::iter(puts).buffer_unordered(16).collect().await;
        assert!(puts.iter().all(|put| *put == Put::Created));
    });
    begun.elapsed()
}

/// `cargo test -p weir-tests --test stores what_flushing_costs -- --ignored --nocapture`
#[test]
#[ignore = "measures, and holds nothing"]
fn what_flushing_costs() {
    for (files, kib) in [(16, 2_600), (505, 80)] {
        let (mut plain, mut durable) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("file://{}", folder.path().display());
            let files_alone = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
            plain.push(put_all(&LakeStore::new(files_alone, Default::default(), &url), files, kib));
            let folder = tempfile::tempdir().unwrap();
            let url = format!("file://{}", folder.path().display());
            durable.push(put_all(&LakeStore::open(&url, &[]).unwrap(), files, kib));
        }
        plain.sort();
        durable.sort();
        let (plain, durable) = (plain[4], durable[4]);
        eprintln!(
            "{files} files of {kib} KiB: {plain:.0?} without flushing, {durable:.0?} with (medians of 9)"
        );
    }
}
