//! Files in, Parquet out: counts that add up, five readers that agree, kills that cost nothing.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use weir_tests::lake::Lake;
use weir_tests::process::Running;
use weir_tests::python::Python;
use weir_tests::{place, process, readers};

/// Real files, their table, and a numeric column that is summed on both sides.
const REAL: [(&str, &str, &[&str]); 6] = [
    ("web_access_log.ndjson.gz", "access_log", &["response"]),
    ("iot_cloudwatch_metrics.ndjson.gz", "sensor_readings", &["reading=value"]),
    ("github_events_2021.ndjson.gz", "github_events", &[]),
    ("zeek_dns.ndjson.gz", "dns_log", &["qtype"]),
    ("web_logs_nested.ndjson.gz", "web_logs", &["bytes"]),
    ("iot_air_quality.ndjson.gz", "air_quality", &[]),
];

fn load(lake: &Lake, file: &Path, table: &str) -> serde_json::Value {
    let file = file.to_string_lossy();
    let line = process::run(&mut lake.weir(["ingest", &file, "--table", table, "--json"]));
    serde_json::from_str(line.trim()).unwrap()
}

#[test]
fn real_files_load_with_counts_that_add_up_for_a_foreign_reader() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    for (name, table, sums) in REAL {
        let Some(file) = place::data(name) else { continue };
        let report = load(&lake, &file, table);
        assert_eq!(report["dead_letters"], 0, "{name}: {report}");
        let again = load(&lake, &file, table);
        assert_eq!((&again["rows"], &again["files"]), (&0.into(), &0.into()), "{name} was loaded twice");
        readers::recount(&python, &[file], &lake.files(table), &[], sums);
    }
}

#[test]
fn samples_become_three_rows_and_three_dead_letters_each() {
    let lake = Lake::with_tables();
    let samples = place::checkout().join("schemas/samples");
    for (_, table, _) in
        REAL.iter().chain(&[("", "clickstream", &[] as &[&str]), ("", "orders_changes", &[])])
    {
        let good = load(&lake, &samples.join(format!("{table}.good.ndjson")), table);
        assert_eq!((&good["rows"], &good["dead_letters"]), (&3.into(), &0.into()), "{table}: {good}");
        let bad = load(&lake, &samples.join(format!("{table}.bad.ndjson")), table);
        assert_eq!((&bad["rows"], &bad["dead_letters"]), (&0.into(), &3.into()), "{table}: {bad}");
    }
    let quarantined = lake.number("select count(*) as n from quarantine where source_table = 'clickstream'");
    assert_eq!(quarantined, 3);
}

/// Events of seven hours, good ones, each with an id of its own.
pub(crate) fn events(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let (hour, kind) = (n * 7 / count + 3, ["page_view", "click", "purchase"][n % 3]);
        let _ = write!(
            text,
            "{{\"event_id\":\"e-{n}\",\"event_type\":\"{kind}\",\"event_time\":\"2025-11-20T{hour:02}:{:02}:00.{:03}Z\",\
             \"user_id\":{},\"latency_ms\":{}.25,\"is_bot\":{},\"referrer\":\"caf\\u00e9 \\\"{}\\\"\"",
            n % 60,
            n % 1_000,
            n % 997,
            n % 300,
            n % 50 == 0,
            n % 11,
        );
        if n % 3 == 2 {
            let _ = write!(
                text,
                ",\"items\":[{{\"sku\":\"S{}\",\"qty\":1,\"price\":{}.5}},{{\"sku\":null}}]",
                n % 40,
                n % 90
            );
        }
        if n % 4 == 0 {
            let _ = write!(text, ",\"properties\":{{\"ab\":\"{}\",\"é\":\"x\"}}", n % 2);
        }
        text.push_str(",\"device\":{\"os\":\"linux\",\"width\":390}}\n");
    }
    text
}

#[test]
fn fields_that_the_table_does_not_have_are_counted_by_path() {
    let lake = Lake::with_tables();
    let input = lake.path().join("events.ndjson");
    let with_more = |text: String| text.replace(",\"device\":{", ",\"color\":\"red\",\"device\":{\"dpi\":2,");
    std::fs::write(&input, with_more(events(700))).unwrap();
    let report = load(&lake, &input, "clickstream");
    let expected = serde_json::json!({"color": 700, "device.dpi": 700});
    assert_eq!((&report["rows"], &report["unknown_fields"]), (&700.into(), &expected), "{report}");
    std::fs::write(&input, with_more(events(800))).unwrap();
    let told = process::run(lake.weir(["ingest", "--table", "clickstream"]).arg(&input));
    let sentence =
        "clickstream does not have: color 800 times, device.dpi 800 times (kept as JSON in _rescued)";
    assert!(told.contains(sentence), "{told}");
}

#[test]
fn five_readers_read_a_table_alike() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    let input = lake.path().join("events.ndjson");
    std::fs::write(&input, events(9_000)).unwrap();
    load(&lake, &input, "clickstream");
    let files = lake.files("clickstream");
    assert!(files.len() >= 7, "one file an hour at least");
    let agreed = readers::read_alike(&python, &files);
    assert_eq!(agreed["rows"], 9_000);
}

#[test]
fn a_load_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    let rows = 150_000;
    let lake = Lake::with_tables();
    let input = lake.path().join("events.ndjson");
    std::fs::write(&input, events(rows)).unwrap();
    let log = lake.path().join("log");
    let path = input.to_string_lossy().into_owned();
    let mut kills = 0;
    for round in 0..40u64 {
        let mut run = Running::start(&mut lake.weir(["ingest", &path, "--table", "clickstream"]), &log);
        let patience = Duration::from_millis(20 + 45 * round);
        if process::wait_until(patience, || !run.is_running()) {
            assert!(run.wait(Duration::from_secs(1)).success(), "{}", run.written());
            break;
        }
        run.kill();
        kills += 1;
    }
    assert!(kills > 0, "it was never killed");
    assert_eq!(load(&lake, &input, "clickstream")["rows"], 0, "something was left to load");
    // A run that was killed before its end has declared no partition: the next one does.
    std::fs::remove_dir_all(lake.path().join("_weir/catalog/partitions/clickstream")).unwrap();
    assert!(!process::output(&mut lake.weir(["verify"])).status.success(), "nobody misses the partitions");
    assert_eq!(load(&lake, &input, "clickstream")["rows"], 0);
    let said = process::output(&mut lake.weir(["verify"]));
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(lake.number("select count(*) as n from clickstream"), rows as i64);
    assert_eq!(lake.number("select count(distinct event_id) as n from clickstream"), rows as i64);
    let mut listed = lake.files("clickstream");
    let mut lying = lake.lying_files("clickstream");
    listed.sort();
    lying.sort();
    assert_eq!(listed, lying, "a file that no commit lists");
}
