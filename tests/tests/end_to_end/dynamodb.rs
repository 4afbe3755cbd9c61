//! A table in DynamoDB changes, and rows of its changes stand in the lake: through Lambda with the
//! binary that is deployed, and through the local runtime.

use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::binaries;
use weir_tests::lake::Lake;
use weir_tests::ministack::MiniStack;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;

/// As DuckDB reads them, in the order of the stream, once there are so many.
fn rows(python: &Python, lake: &Lake, expected: usize, why: impl Fn() -> String) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let files = lake.lying_files("orders_changes");
        let read =
            if files.is_empty() { String::new() } else { python.run("readers/read_changes.py", &files) };
        let rows = lines(&read);
        if rows.len() >= expected {
            return rows;
        }
        assert!(Instant::now() < until, "{} of {expected} rows\n{}", rows.len(), why());
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn changes_of_a_table_become_rows_through_lambda_and_the_binary_that_is_deployed() {
    let (Some(python), Some(stack)) = (Python::get(), MiniStack::start()) else { return };
    let lake = Lake::with_tables();
    let stream = stack.change_orders(["table"]);
    let early = stack.change_orders(["change", "0", "20"]);
    let settings = serde_json::json!({"WEIR_LAKE": lake.url(), "WEIR_TABLE": "orders_changes"}).to_string();
    let ingest = binaries::ingest();
    stack.change_orders(["function", stream.trim(), ingest.to_str().unwrap(), &settings]);
    let later = stack.change_orders(["change", "20", "60"]);
    let expected = lines(&(early + &later));
    assert_eq!(rows(&python, &lake, expected.len(), || stack.written()), expected);
    let chains = lake.path().join("_weir/commits");
    let chain = std::fs::read_dir(chains).unwrap().next().unwrap().unwrap().path();
    assert!(chain.file_name().unwrap().to_string_lossy().starts_with("orders-"), "{chain:?}");
    assert!(chain.join("all-shards").is_dir(), "{chain:?}");
}

#[test]
fn the_local_runtime_follows_a_stream_and_goes_on_where_it_was_killed() {
    let (Some(python), Some(stack)) = (Python::get(), MiniStack::start()) else { return };
    let lake = Lake::with_tables();
    let (stream, endpoint) = (stack.change_orders(["table"]).trim().to_owned(), stack.endpoint());
    let state = lake.path().join("state");
    let follow = |log: &str| {
        let arguments = ["up", "--table", "orders_changes", "--window", "1s"];
        let mut weir = lake.weir(arguments);
        weir.args(["--dynamodb-stream", &stream, "--endpoint", &endpoint]).arg("--state").arg(&state);
        let mut up = Running::start(&mut weir, &lake.path().join(log));
        up.wait_for_text("Ctrl-C stops", Duration::from_secs(60));
        up
    };
    let mut text = stack.change_orders(["change", "0", "40"]);
    let up = follow("first.log");
    let expected = lines(&text);
    assert_eq!(rows(&python, &lake, expected.len(), || up.written()), expected);
    text += &stack.change_orders(["change", "40", "50"]);
    up.kill();
    text += &stack.change_orders(["change", "50", "80"]);
    let up = follow("second.log");
    let expected = lines(&text);
    assert_eq!(rows(&python, &lake, expected.len(), || up.written()), expected);
    assert!(up.stop(Duration::from_secs(30)).success());
    assert_eq!(rows(&python, &lake, expected.len(), String::new), expected, "a row came twice");
    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains("no gap, no duplicate"), "{verified}");
}
