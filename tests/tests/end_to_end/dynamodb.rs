//! A table in DynamoDB changes, and rows of its changes stand in the lake: through Lambda with the
//! binary that is deployed, and through the local runtime.

use std::path::Path;
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

/// `weir quarantine … --from-failures --json`, and its exit code.
fn from_failures(lake: &Lake, what: &str, folder: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let mut weir = lake.weir(["quarantine", what, "--from-failures", "--table", "orders_changes", "--json"]);
    let output = process::output(weir.arg("--failures").arg(folder).args(more));
    let text = String::from_utf8(output.stdout).unwrap();
    let why = || String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {}", why())))
}

#[test]
fn what_a_mapping_gave_up_on_comes_in_once_while_the_stream_has_it() {
    let (Some(python), Some(stack)) = (Python::get(), MiniStack::start()) else { return };
    let lake = Lake::with_tables();
    let (stream, endpoint) = (stack.change_orders(["table"]).trim().to_owned(), stack.endpoint());
    let follow = |log: &str| {
        let mut weir =
            lake.weir(["up", "--table", "orders_changes", "--window", "1s", "--close-every", "0s"]);
        weir.args(["--dynamodb-stream", &stream, "--endpoint", &endpoint]).arg("--state");
        let mut up = Running::start(weir.arg(lake.path().join("state")), &lake.path().join(log));
        up.wait_for_text("Ctrl-C stops", Duration::from_secs(60));
        up
    };
    let mut text = stack.change_orders(["change", "0", "10"]);
    let up = follow("first.log");
    let early = lines(&text).len();
    assert_eq!(rows(&python, &lake, early, || up.written()).len(), early);
    assert!(up.stop(Duration::from_secs(30)).success());
    text += &stack.change_orders(["change", "10", "30"]);
    let expected = lines(&text);
    let folder = lake.path().join("failed");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("message.json"), stack.change_orders(["given-up", &stream])).unwrap();
    let (_, listed) = from_failures(&lake, "ls", &folder, &[]);
    let late = expected.len() - early;
    assert_eq!((&listed["records"], &listed["not_in_the_lake"]), (&expected.len().into(), &late.into()));
    let (code, unread) = from_failures(&lake, "replay", &folder, &[]);
    assert_eq!((code, &unread["batches_without_payload"]), (Some(1), &1.into()), "{unread}");
    let (code, done) = from_failures(&lake, "replay", &folder, &["--endpoint", &endpoint]);
    assert_eq!((code, &done["rows"], &done["lost_records"]), (Some(0), &late.into(), &0.into()), "{done}");
    assert_eq!(rows(&python, &lake, expected.len(), String::new), expected);
    let (code, again) = from_failures(&lake, "replay", &folder, &["--endpoint", &endpoint]);
    assert_eq!((code, &again["rows"]), (Some(0), &0.into()), "{again}");
    // The mapping goes on and is given the same records once more.
    text += &stack.change_orders(["change", "30", "35"]);
    let up = follow("second.log");
    let expected = lines(&text);
    assert_eq!(rows(&python, &lake, expected.len(), || up.written()), expected);
    assert!(up.stop(Duration::from_secs(30)).success());
    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains("no gap, no duplicate"), "{verified}");
}

/// The table of changes in days of what orders say, read so that they are long over.
fn days_that_are_over(folder: &Path) {
    let schema = std::fs::read_to_string(weir_tests::place::checkout().join("schemas/orders_changes.json"));
    let mut table: Value = serde_json::from_str(&schema.unwrap()).unwrap();
    let columns = table["StorageDescriptor"]["Columns"].as_array_mut().unwrap();
    let placed_at = columns.iter_mut().find(|column| column["Name"] == "placed_at").unwrap();
    placed_at["Parameters"] = serde_json::json!({"weir.time_format": "epoch_ms"});
    table["Parameters"]["weir.event_time"] = "placed_at".into();
    table["Parameters"]["weir.partition.dt"] = "day(placed_at)".into();
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("orders_changes.json"), table.to_string()).unwrap();
}

#[test]
fn partitions_of_changes_close_by_what_the_stream_says_and_late_changes_make_a_revision() {
    let Some(stack) = MiniStack::start() else { return };
    let lake = Lake::empty();
    let schemas = lake.path().join("schemas");
    days_that_are_over(&schemas);
    process::run(lake.weir(["tables", "apply", "--schemas"]).arg(&schemas));
    let (stream, endpoint) = (stack.change_orders(["table"]).trim().to_owned(), stack.endpoint());
    let changed = |from: &str, to: &str| lines(&stack.change_orders(["change", from, to])).len();
    // Orders 1 to 4 and so on: none of them is removed.
    let first = changed("1", "5") + changed("6", "10");
    let mut weir = lake.weir(["up", "--table", "orders_changes", "--window", "1s", "--close-every", "1s"]);
    weir.args(["--dynamodb-stream", &stream, "--endpoint", &endpoint]).arg("--schemas").arg(&schemas);
    weir.arg("--state").arg(lake.path().join("state"));
    let mut up = Running::start(&mut weir, &lake.path().join("up.log"));
    let closed = |revision: u32| format!("closed orders_changes/dt=1970-01-21: revision {revision} ");
    up.wait_for_text(&closed(1), Duration::from_secs(60));
    let count = || lake.number("select count(*) from orders_changes");
    assert_eq!(count(), first as i64, "{}", up.written());
    let late = changed("11", "15");
    up.wait_for_text(&closed(2), Duration::from_secs(60));
    assert_eq!(count(), (first + late) as i64, "{}", up.written());
    assert!(up.written().contains(&format!("{late} of them late")), "{}", up.written());
    assert!(up.stop(Duration::from_secs(30)).success());
    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains("no gap, no duplicate"), "{verified}");
}
