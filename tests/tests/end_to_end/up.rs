//! `weir up`: a foreign producer puts records, the host is killed again and again, and every
//! record is a row exactly once.

use std::process::Command;
use std::time::Duration;

use weir_tests::lake::Lake;
use weir_tests::process;
use weir_tests::process::Running;
use weir_tests::python::Python;

pub(crate) const WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn start(lake: &Lake, port: u16) -> Running {
    start_as(lake, port, |command| command)
}

/// The same where the command has to be run in a place of its own.
pub(crate) fn start_as(lake: &Lake, port: u16, place: impl FnOnce(Command) -> Command) -> Running {
    let (state, port) = (lake.path().join("state").to_string_lossy().into_owned(), port.to_string());
    let mut up = lake.weir(["up", "--table", "clickstream", "--port", &port, "--window", "1s"]);
    // Their hour is long over: closed, it would show the rows of a round with its next revision only.
    up.args(["--state", &state, "--close-every", "0s"]);
    let mut up = Running::start(&mut place(up), &lake.path().join("up.log"));
    up.wait_for_text("Ctrl-C stops", WITHIN);
    up
}

pub(crate) fn put(python: &Python, lake: &Lake, endpoint: &str, round: usize, count: usize) {
    let records: Vec<_> = (0..count)
        .map(|n| {
            let data = format!(
                "{{\"event_id\":\"{round}-{n}\",\"event_type\":\"click\",\"event_time\":\"2026-01-02T03:04:05Z\",\"user_id\":{n}}}"
            );
            serde_json::json!({"PartitionKey": n.to_string(), "Data": data})
        })
        .collect();
    let file = lake.path().join("records.json");
    std::fs::write(&file, serde_json::to_vec(&records).unwrap()).unwrap();
    let answer = process::run(python.aws(endpoint).args([
        "kinesis",
        "put-records",
        "--stream-name",
        "clickstream",
        "--records",
        &format!("file://{}", file.display()),
    ]));
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["FailedRecordCount"], 0);
}

#[test]
fn a_host_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    let port = process::free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let (rounds, each) = (5, 400);
    for round in 0..rounds {
        let up = start(&lake, port);
        put(&python, &lake, &endpoint, round, each);
        // Sometimes before the batch is read, sometimes in the middle of it, sometimes after.
        std::thread::sleep(Duration::from_millis(350 * round as u64));
        up.kill();
    }
    let up = start(&lake, port);
    let total = (rounds * each) as i64;
    let count = || lake.number("select count(*) as n from clickstream");
    let done = process::wait_until(Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_millis(300));
        count() >= total
    });
    assert!(done, "{} of {total} rows; {}", count(), up.written());
    assert!(up.stop(WITHIN).success());
    assert_eq!(count(), total);
    assert_eq!(lake.number("select count(distinct event_id) as n from clickstream"), total);
}

#[test]
fn a_stop_as_soon_as_the_first_screen_is_there_ends_in_order() {
    let lake = Lake::with_tables();
    for _ in 0..5 {
        assert!(start(&lake, process::free_port()).stop(WITHIN).success());
    }
}

#[test]
fn a_stream_made_again_under_the_same_name_is_another_stream() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    let port = process::free_port();
    for round in 0..2 {
        let up = start(&lake, port);
        put(&python, &lake, &format!("http://127.0.0.1:{port}"), round, 100);
        let expected = 100 * (round as i64 + 1);
        let done = process::wait_until(WITHIN, || {
            std::thread::sleep(Duration::from_millis(300));
            lake.number("select count(*) as n from clickstream") == expected
        });
        assert!(done, "round {round}: {}", up.written());
        up.kill();
        std::fs::remove_dir_all(lake.path().join("state")).unwrap();
    }
}

#[test]
fn a_missing_table_and_a_port_in_use_say_the_way_out() {
    let lake = Lake::with_tables();
    let answer = process::output(&mut lake.weir(["up", "--table", "nothing"]));
    let text = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(answer.status.code(), Some(1));
    assert!(text.contains("table nothing") && text.contains("clickstream"), "{text}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let state = lake.path().join("state").to_string_lossy().into_owned();
    let answer =
        process::output(&mut lake.weir(["up", "--table", "clickstream", "--port", &port, "--state", &state]));
    let text = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(answer.status.code(), Some(1));
    assert!(text.contains(&port), "{text}");
}
