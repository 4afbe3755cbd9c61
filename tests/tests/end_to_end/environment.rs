//! The test environment itself: an oracle that cannot fail proves nothing.

use std::path::PathBuf;
use std::time::Duration;

use weir_tests::process::{self, wait_until};
use weir_tests::python::Python;
use weir_tests::readers;
use weir_tests::seaweed::{BUCKET, CREDENTIALS, Seaweed};

fn parquet_in(folder: &std::path::Path) -> Vec<PathBuf> {
    ["a.parquet", "b.parquet"].map(|name| folder.join(name)).to_vec()
}

#[test]
fn five_readers_agree_on_every_kind_of_column_and_notice_one_changed_value() {
    let Some(python) = Python::get() else { return };
    let (same, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    python.run("readers/make_sample.py", [same.path()]);
    python.run("readers/make_sample.py", [other.path().as_os_str(), "--one-value-changed".as_ref()]);

    let agreed = readers::read_alike(&python, &parquet_in(same.path()));
    assert_eq!(agreed["rows"], 3000);
    let changed = readers::read(&python, "pyarrow", &parquet_in(other.path()));
    for hash in ["hash", "loose_hash"] {
        assert_ne!(agreed[hash], changed[hash], "the changed value is not in the {hash}");
    }
}

#[test]
fn a_recount_adds_up_and_notices_one_missing_row() {
    let Some(python) = Python::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    python.run("readers/make_sample.py", [folder.path()]);
    let input = folder.path().join("input.ndjson");
    let lines: String = (0..3000).map(|id| format!("{{\"id\":{id}}}\n")).collect();

    std::fs::write(&input, &lines).unwrap();
    let report =
        readers::recount(&python, std::slice::from_ref(&input), &parquet_in(folder.path()), &[], &["id"]);
    assert_eq!(report["sums"]["id"]["rows"]["sum"], "4498500.0");

    std::fs::write(&input, lines + "{\"id\":3000}\n").unwrap();
    let files = parquet_in(folder.path());
    let short = std::panic::catch_unwind(|| readers::recount(&python, &[input], &files, &[], &[]));
    assert!(short.is_err(), "a line that became neither row nor dead letter went unnoticed");
}

#[test]
fn the_local_s3_lets_one_writer_win_a_put_if_absent() {
    let Some(python) = Python::get() else { return };
    let s3 = Seaweed::start(&python);
    let body = tempfile::NamedTempFile::new().unwrap();
    let put = || {
        let mut aws = python.aws(&s3.endpoint());
        aws.args([
            "s3api",
            "put-object",
            "--bucket",
            BUCKET,
            "--key",
            "once",
            "--if-none-match",
            "*",
            "--body",
        ])
        .arg(body.path())
        .env("AWS_ACCESS_KEY_ID", CREDENTIALS.0)
        .env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1);
        process::output(&mut aws)
    };
    assert!(put().status.success());
    let refused = String::from_utf8(put().stderr).unwrap();
    assert!(refused.contains("PreconditionFailed"), "{refused}");

    let port = s3.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    drop(s3);
    assert!(wait_until(Duration::from_secs(5), || !process::accepts(port)), "the server outlived its test");
}
