//! Inputs that are not what their commits say.

use std::path::Path;

use bytes::Bytes;

use super::model::*;
use crate::compact::{Input, run};
use crate::write::tests::model::Random;

/// The error of a compaction of random files, one of them changed.
fn refusal(change: impl FnOnce(&mut Input, &mut Vec<u8>) -> bool) -> String {
    block_on(async {
        let lake = memory_lake();
        let (schema, files) = world(&mut Random(4), 200);
        let mut inputs = put(&lake, &schema, &files).await;
        let last = inputs.last_mut().unwrap();
        let mut bytes = lake.get(&last.key).await.unwrap().unwrap().to_vec();
        let stays = change(last, &mut bytes);
        lake.delete(&last.key).await.unwrap();
        if stays {
            let _ = lake.put_if_absent(&last.key, Bytes::from(bytes)).await.unwrap();
        }
        let error = run(&lake, &clock(), &compaction(&schema, &inputs, Path::new("/nowhere"), 1 << 28)).await;
        let error = error.unwrap_err();
        assert!(!error.retryable());
        assert!(error.to_string().contains(&inputs.last().unwrap().key), "{error}");
        assert!(lake.list("t/closed").await.unwrap().is_empty());
        error.to_string()
    })
}

#[test]
fn inputs_that_are_not_what_their_commits_say_are_named_with_both_sides() {
    let rows = |n: i64| {
        refusal(move |input, _| {
            input.rows = (input.rows as i64 + n) as u64;
            true
        })
    };
    assert!(rows(1).contains("rows, found"), "{}", rows(1));
    assert!(rows(-1).contains("rows, found"));
    let missing = refusal(|_, _| false);
    assert!(missing.contains("found no object"), "{missing}");
    let cut = refusal(|_, bytes| {
        bytes.truncate(bytes.len() / 2);
        true
    });
    assert!(cut.contains("bytes, found"), "{cut}");
    let turned = refusal(|_, bytes| {
        bytes[100] ^= 1;
        true
    });
    assert!(turned.contains("checksum") || turned.contains("page"), "{turned}");
    let no_parquet = refusal(|_, bytes| {
        bytes.fill(7);
        true
    });
    assert!(no_parquet.contains("expected a Parquet file"), "{no_parquet}");
}

#[test]
fn another_compaction_in_the_same_work_folder_is_refused() {
    block_on(async {
        let lake = memory_lake();
        let (schema, files) = world(&mut Random(4), 20);
        let inputs = put(&lake, &schema, &files).await;
        let all = compaction(&schema, &inputs, Path::new("/nowhere"), 1 << 28);
        let _ = compact(&lake, &all).await;
        lake.delete(&format!("{WORK}/finished")).await.unwrap();
        let fewer = compaction(&schema, &inputs[1..], Path::new("/nowhere"), 1 << 28);
        let error = run(&lake, &clock(), &fewer).await.unwrap_err().to_string();
        assert!(error.contains("plan of another compaction"), "{error}");
    });
}
