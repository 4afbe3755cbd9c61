//! Rates that cannot be met, throttles, targets that go away, users who stop a run.

use serde_json::{Value, json};
use weir_tests::lake::Lake;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;

use super::{WITHIN, answer, loadgen, parquet_files, refusing, start, start_with};

/// The numbers in a line of the summary.
fn numbers(summary: &str, name: &str) -> Vec<f64> {
    let line =
        summary.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {summary}"));
    let words = line[name.len()..].split(|c: char| !c.is_ascii_digit() && c != '.');
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn throttled_records_are_counted_and_put_again_until_each_is_there_once() {
    let lake = Lake::with_tables();
    let port = process::free_port();
    // A shard takes 1,000 records a second.
    let up = start_with(&lake, port, &["--shards", "1"], &[]);
    let endpoint = format!("http://127.0.0.1:{port}");
    let run = ["run", "--endpoint", &endpoint, "--rate", "3000/s", "--count", "6000", "--settle", "15s"];
    let output = process::output(&mut loadgen(lake.path(), &run));
    let summary = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{summary} {}", up.written());
    let [throttled, again, failed, given_up] = numbers(&summary, "trouble")[..] else { panic!("{summary}") };
    assert!(throttled > 1_000.0 && again >= throttled && failed == 0.0 && given_up == 0.0, "{summary}");
    let [asked, reached] = numbers(&summary, "rate not met")[..] else { panic!("{summary}") };
    assert!(asked == 3_000.0 && (500.0..2_000.0).contains(&reached), "{summary}");
    assert!(summary.contains("truth          holds: 6000 events in 6000 rows"), "{summary}");
}

#[test]
fn answers_that_are_lost_make_copies_and_no_false_alarm() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    let port = process::free_port();
    let up = start(&lake, port);
    let (_proxy, endpoint) = refusing(&python, &format!("http://127.0.0.1:{port}"), &lake, 2);
    let run = ["run", "--endpoint", &endpoint, "--rate", "500/s", "--count", "1500", "--linger", "100ms"];
    let (result, code) = answer(loadgen(lake.path(), &[&run[..], &["--settle", "4s", "--json"]].concat()));
    let truth = &result["truth"];
    assert_eq!(code, 0, "{truth} {} {}", result["failures"], up.written());
    assert!(result["failed_requests"].as_u64().unwrap() > 5, "{}", result["failures"]);
    // Half of the requests were stored twice, and all of them were waited for.
    assert_eq!((&truth["events"], &result["acknowledged"]), (&json!(1_500), &json!(1_500)));
    assert!(truth["rows"].as_u64().unwrap() > 2_000, "{truth}");
}

#[test]
fn a_target_that_goes_away_ends_a_run_with_what_there_is() {
    let lake = Lake::with_tables();
    let port = process::free_port();
    let up = start(&lake, port);
    let (endpoint, out) = (format!("http://127.0.0.1:{port}"), lake.path().join("result"));
    let mut run =
        loadgen(lake.path(), &["run", "--endpoint", &endpoint, "--rate", "300/s", "--for", "20s", "--json"]);
    run.args(["--patience", "1s", "--settle", "1s", "--out"]).arg(&out);
    let log = lake.path().join("run.log");
    let mut running = Running::start(&mut run, &log);
    assert!(process::wait_until(WITHIN, || !parquet_files(&lake.path().join("clickstream")).is_empty()));
    up.kill();
    assert_eq!(running.wait(WITHIN).code(), Some(1));
    let result: Value = serde_json::from_slice(&std::fs::read(out.with_extension("json")).unwrap()).unwrap();
    assert!(result["ended_early"].as_str().unwrap().contains("target is gone"), "{}", result["ended_early"]);
    assert!(result["acknowledged"].as_u64().unwrap() > 0);
}

#[test]
fn a_user_who_stops_a_run_gets_what_there_is() {
    let lake = Lake::with_tables();
    let port = process::free_port();
    let _up = start(&lake, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let run = ["run", "--endpoint", &endpoint, "--rate", "400/s", "--for", "60s", "--settle", "15s"];
    let mut running = Running::start(&mut loadgen(lake.path(), &run), &lake.path().join("run.log"));
    assert!(process::wait_until(WITHIN, || !parquet_files(&lake.path().join("clickstream")).is_empty()));
    process::interrupt(running.pid());
    assert_eq!(running.wait(WITHIN).code(), Some(1));
    let written = running.written();
    for text in [
        "stopping: what is under way ends first",
        "ended early    stopped by the user",
        "truth          holds: ",
    ] {
        assert!(written.contains(text), "{text}: {written}");
    }
    let sent = numbers(&written, "sent");
    assert!(sent[0] > 100.0 && sent[0] < sent[1] && sent[1] == 24_000.0, "{written}");
}

#[test]
fn the_highest_rate_that_is_sustained_is_found() {
    let lake = Lake::with_tables();
    let port = process::free_port();
    let _up = start_with(&lake, port, &["--shards", "1"], &[]);
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut run = loadgen(lake.path(), &["run", "--endpoint", &endpoint, "--find-max", "--json"]);
    run.args(["--rate", "500/s", "--for", "2s", "--within", "8s", "--settle", "10s"]);
    let (found, code) = answer(run);
    assert_eq!(code, 0, "{found}");
    let steps = found["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["asked"], &steps[0]["sustained"]), (&json!(500.0), &json!(true)), "{found}");
    // What the shard takes, and what it lets pass in its first second.
    let sustained = found["sustained"].as_f64().unwrap();
    assert!((500.0..=2_000.0).contains(&sustained), "{found}");
    assert!(
        steps.iter().any(|step| step["sustained"] == false && step["why_not"] == "rate not met"),
        "{found}"
    );
}

#[test]
fn what_cannot_be_run_says_the_way_out() {
    let lake = Lake::with_tables();
    let endpoint = format!("http://127.0.0.1:{}", process::free_port());
    let cases: [(&[&str], &str); 4] = [
        (&["--table", "nothing", "--for", "1s"], "clickstream"),
        (&["--rate", "10/s"], "--for"),
        (&["--endpoint", &endpoint, "--for", "1s"], "--endpoint"),
        (&["--late", "90", "--malformed", "20", "--for", "1s"], "percentages"),
    ];
    for (arguments, text) in cases {
        let output = process::output(loadgen(lake.path(), &["run"]).args(arguments));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(text), "{arguments:?}: {said}");
    }
}

#[test]
fn memory_does_not_grow_with_the_events_nor_without_end_where_the_target_stands_still() {
    let lake = Lake::with_tables();
    let peak = |result: &Value| result["peak_rss_bytes"].as_u64().unwrap() as f64 / 1e6;
    let made = |count: &str| {
        let run = ["run", "--target", "none", "--rate", "1000000/s", "--count", count, "--json"];
        let (result, code) = answer(loadgen(lake.path(), &run));
        assert_eq!((code, result["acknowledged"].to_string()), (0, count.to_owned()), "{result}");
        peak(&result)
    };
    let (few, many) = (made("100000"), made("1000000"));
    assert!(many < few + 10.0, "{few} MB for 100,000 events, {many} MB for 1,000,000");

    let port = process::free_port();
    let up = start(&lake, port);
    let (endpoint, out) = (format!("http://127.0.0.1:{port}"), lake.path().join("result"));
    let mut run = loadgen(lake.path(), &["run", "--endpoint", &endpoint, "--rate", "20000/s", "--for", "6s"]);
    run.args(["--no-watch", "--out"]).arg(&out);
    let mut running = Running::start(&mut run, &lake.path().join("run.log"));
    std::thread::sleep(std::time::Duration::from_secs(2));
    process::pause(up.pid());
    std::thread::sleep(std::time::Duration::from_secs(7));
    process::resume(up.pid());
    let code = running.wait(std::time::Duration::from_secs(60)).code();
    assert_eq!(code, Some(0), "{}", running.written());
    let result: Value = serde_json::from_slice(&std::fs::read(out.with_extension("json")).unwrap()).unwrap();
    // 100 MB may be under way.
    assert!(peak(&result) < few + 140.0, "{} MB", peak(&result));
}
