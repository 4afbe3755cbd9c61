//! Lakes and catalogs that are elsewhere, and events that are a user's own.

use std::fmt::Write;

use weir_tests::aws::{Aws, StandIn};
use weir_tests::lake::Lake;
use weir_tests::process;
use weir_tests::python::Python;
use weir_tests::seaweed::{BUCKET, Seaweed};

use super::{answer, loadgen, start, start_with};

#[test]
fn a_lake_in_s3_is_followed_and_checked() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let lake = Lake::at(&format!("s3://{BUCKET}/loadgen"), server.environment());
    lake.apply_tables();
    let port = process::free_port();
    let up = start(&lake, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let run =
        ["run", "--endpoint", &endpoint, "--rate", "500/s", "--count", "1000", "--violating", "2", "--json"];
    let mut run = loadgen(lake.url().as_ref(), &run);
    let (result, code) = answer({
        run.envs(server.environment());
        run
    });
    assert_eq!(code, 0, "{result} {}", up.written());
    let truth = &result["truth"];
    let counted = lake.number("select count(*) from clickstream");
    assert_eq!((&truth["events"], &truth["rows"]), (&1_000.into(), &counted.into()), "{truth}");
    assert_eq!(result["queryable"]["count"], truth["rows"]);
    assert!(truth["letters"].as_u64().unwrap() > 5, "{truth}");
}

#[test]
fn tables_and_partitions_of_a_glue_catalog_are_those_that_are_checked() {
    let Some(aws) = Aws::start(StandIn::Moto) else { return };
    aws.cli(["glue", "create-database", "--database-input", "Name=lake"]);
    let lake = Lake::empty();
    let mut environment = aws.environment();
    environment.push(("WEIR_CATALOG", "glue://lake".to_owned()));
    process::run(lake.weir(["tables", "apply"]).envs(environment.clone()));
    let port = process::free_port();
    let up = start_with(&lake, port, &["--no-limits"], &environment);
    let endpoint = format!("http://127.0.0.1:{port}");
    let run = |more: &[&str]| {
        let run = ["run", "--endpoint", &endpoint, "--rate", "400/s", "--count", "400", "--json"];
        let mut run = loadgen(lake.path(), &[&run[..], more].concat());
        run.envs(environment.clone());
        answer(run)
    };
    let (result, code) = run(&[]);
    assert_eq!(code, 0, "{result} {}", up.written());
    assert_eq!((&result["truth"]["rows"], &result["queryable"]["count"]), (&400.into(), &400.into()));
    // A row whose partition is not in the catalog is none that an engine reads.
    let (blind, code) = run(&["--catalog", &lake.url(), "--settle", "3s"]);
    assert_eq!((code, &blind["truth"]["lost"]["events"]), (1, &400.into()), "{}", blind["truth"]);
    assert_eq!(blind["queryable"]["count"], 0);
}

#[test]
fn a_users_lines_are_replayed_and_each_is_there_once() {
    let lake = Lake::with_tables();
    let mut lines = String::new();
    for n in 0..700 {
        let kind = if n % 50 == 7 { "no such type" } else { ["page_view", "click"][n % 2] };
        let day = 1 + n % 3;
        let _ = writeln!(
            lines,
            "{{\"event_time\": \"2026-01-0{day}T03:04:05Z\", \"event_type\": \"{kind}\", \"user_id\": {n}, \
             \"page_url\": \"https://caf\u{e9}.example/{n}\"}}"
        );
    }
    let file = lake.path().join("events.ndjson");
    std::fs::write(&file, lines).unwrap();
    let port = process::free_port();
    let up = start(&lake, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let run =
        ["run", "--endpoint", &endpoint, "--rate", "2000/s", "--count", "1400", "--settle", "5s", "--json"];
    let mut run = loadgen(lake.path(), &run);
    run.args(["--gzip", "--packed-bytes", "4000", "--replay"]).arg(&file);
    let (result, code) = answer(run);
    let truth = &result["truth"];
    // The lines with a type that is none are no rows: the file is not as good as it was said to be.
    assert_eq!(code, 1, "{truth} {}", up.written());
    assert_eq!(truth["wrongly_quarantined"]["events"], 14 * 2, "{truth}");
    for kind in ["lost", "duplicated", "misfiled", "wrongly_accepted", "unsent"] {
        assert_eq!(truth[kind]["events"], 0, "{kind}: {truth}");
    }
    assert_eq!(lake.number("select count(*) from clickstream"), 1_400 - 28);
    let text = "select count(*) from clickstream where page_url = 'https://caf\u{e9}.example/699' and user_id = 699 \
                and dt = '2026-01-01'";
    assert_eq!(lake.number(text), 2, "each line twice, and as it was");
}
