//! What was sent is what the lake holds, and lakes that were tampered with are found out.

use std::path::Path;

use serde_json::Value;
use weir_tests::lake::Lake;
use weir_tests::process;
use weir_tests::python::Python;

use super::{WITHIN, answer, copy, loadgen, parquet_files, start};

#[test]
fn a_run_is_true_and_planted_loss_duplicates_and_misfiling_are_caught() {
    let lake = Lake::with_tables();
    let port = process::free_port();
    let up = start(&lake, port);
    let (endpoint, out) = (format!("http://127.0.0.1:{port}"), lake.path().join("result"));
    let mut run = loadgen(
        lake.path(),
        &["run", "--endpoint", &endpoint, "--rate", "500/s", "--count", "1500", "--json"],
    );
    run.args(["--late", "5", "--malformed", "1", "--violating", "2", "--duplicate", "2", "--aggregate"]);
    run.args(["--packed-bytes", "8000", "--settle", "10s"]).arg("--out").arg(&out);
    let (result, code) = answer(run);
    let truth = &result["truth"];
    assert_eq!(code, 0, "{truth}; {}", up.written());
    assert_eq!(truth["events"], 1_500, "{truth}");
    assert!(truth["letters"].as_u64().unwrap() > 20, "{truth}");
    let sent = result["acknowledged"].as_u64().unwrap();
    assert_eq!(truth["rows"].as_u64().unwrap() + truth["letters"].as_u64().unwrap(), sent);
    let (committed, queryable) = (&result["committed"], &result["queryable"]);
    assert_eq!(committed["count"], truth["rows"]);
    assert_eq!(queryable["count"], truth["rows"]);
    assert!(committed["p99_ms"].as_f64() <= queryable["p99_ms"].as_f64());
    assert!(committed["max_ms"].as_f64().unwrap() < 15_000.0, "{committed}");
    let (least, most) =
        (result["skew"]["least_ms"].as_f64().unwrap(), result["skew"]["most_ms"].as_f64().unwrap());
    // One machine, one clock.
    assert!(least <= 1.0 && most >= 0.0, "{least} {most}");
    let hgrm = std::fs::read_to_string(lake.path().join("result.queryable.hgrm")).unwrap();
    assert!(hgrm.contains("#[Max"), "{hgrm}");
    assert!(up.stop(WITHIN).success());

    let file = out.with_extension("json").to_string_lossy().into_owned();
    let check = |lake: &Path| {
        let (result, code) = answer(loadgen(lake, &["check", &file, "--json"]));
        let truth = result["truth"].clone();
        let events = |kind: &str| truth[kind]["events"].as_u64().unwrap();
        (
            [events("lost"), events("duplicated"), events("misfiled"), events("wrongly_quarantined")],
            code,
            truth,
        )
    };
    assert_eq!(check(lake.path()).1, 0);
    for tampering in ["loss", "duplicate", "misfiling"] {
        let scratch = tempfile::tempdir().unwrap();
        copy(&lake.path().join("clickstream"), &scratch.path().join("clickstream"));
        copy(&lake.path().join("quarantine"), &scratch.path().join("quarantine"));
        copy(&lake.path().join("_weir/catalog"), &scratch.path().join("_weir/catalog"));
        let files = parquet_files(&scratch.path().join("clickstream/live"));
        let victim = &files[0];
        let other = files.iter().find(|f| f.parent() != victim.parent()).unwrap().parent().unwrap();
        match tampering {
            "loss" => std::fs::remove_file(victim).unwrap(),
            "duplicate" => std::fs::copy(victim, victim.with_file_name("again.parquet")).map(|_| ()).unwrap(),
            _ => std::fs::rename(victim, other.join("moved.parquet")).unwrap(),
        }
        let ([lost, duplicated, misfiled, quarantined], code, truth) = check(scratch.path());
        assert_eq!(code, 1, "{tampering}: {truth}");
        let found = (lost > 0, duplicated > 0, misfiled > 0, quarantined > 0);
        let expected = (tampering == "loss", tampering == "duplicate", tampering == "misfiling", false);
        assert_eq!(found, expected, "{tampering}: {truth}");
    }
}

#[test]
fn aggregates_are_those_that_the_producer_librarys_own_reader_takes_apart() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    let port = process::free_port();
    let _up = start(&lake, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let run =
        ["run", "--endpoint", &endpoint, "--rate", "2000/s", "--count", "1000", "--no-watch", "--aggregate"];
    let (result, code) = answer(loadgen(lake.path(), &[&run[..], &["--json"]].concat()));
    assert_eq!(code, 0, "{result}");
    let read: Value =
        serde_json::from_str(&python.run("readers/deaggregate.py", [endpoint.as_str(), "clickstream"]))
            .unwrap();
    assert_eq!((&read["aggregates"], &read["records"]), (&result["records"], &result["records"]));
    let numbers = read["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| u64::from_str_radix(id.as_str().unwrap().rsplit('-').next().unwrap(), 16).unwrap());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
}
