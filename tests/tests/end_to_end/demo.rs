//! `weir demo`, as someone meets it who sees Weir for the first time: what it prints is true.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use weir_tests::python::Python;
use weir_tests::{binaries, place, process};

const EVENTS: u64 = 20_000;

/// `weir ARGUMENTS` in the checkout, and nothing of the environment's settings.
fn weir(arguments: &[&str]) -> Command {
    let mut weir = Command::new(binaries::weir());
    weir.args(arguments).current_dir(place::checkout()).env("NO_COLOR", "1");
    weir.env_remove("WEIR_LAKE").env_remove("WEIR_CATALOG").env_remove("WEIR_JOBS").env_remove("WEIR_STATE");
    weir
}

/// Revisions by hour, from the lines that the demo prints about its aggregate.
fn aggregated(out: &str) -> BTreeMap<String, Vec<(u32, Vec<String>)>> {
    let mut hours = BTreeMap::<_, Vec<_>>::new();
    let part = out.split("what jobs/clickstream_products.sql made").nth(1).unwrap_or_else(|| panic!("{out}"));
    for line in part.lines().skip(2).take_while(|line| !line.trim().is_empty()) {
        let cells: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let revision = cells[1].parse().unwrap_or_else(|_| panic!("{line}"));
        hours.entry(cells[0].clone()).or_default().push((revision, cells[2..7].to_vec()));
    }
    hours
}

/// Revision by hour of a table's partitions, as the lake's catalog has them.
fn revisions(lake: &Path, table: &str) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for day in std::fs::read_dir(lake.join("_weir/catalog/partitions").join(table)).unwrap() {
        for entry in std::fs::read_dir(day.unwrap().path()).unwrap() {
            let entry: Value =
                serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
            let revision = entry["Parameters"]["weir.revision"].as_str().map_or(0, |r| r.parse().unwrap());
            found.insert(entry["Values"][1].as_str().unwrap().to_owned(), revision);
        }
    }
    found
}

/// Files of a table that are of a closed revision, or of a job.
fn closed_files(lake: &str, table: &str) -> Vec<PathBuf> {
    let lines = process::run(&mut weir(&["--lake", lake, "files", "--table", table, "--json"]));
    let files = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let files = files.filter(|file| file["revision"].as_u64().unwrap() > 0);
    files.map(|file| PathBuf::from(file["url"].as_str().unwrap())).collect()
}

fn compare(python: &Python, source: &[PathBuf], target: &[PathBuf]) -> Value {
    let mut script = python.tool("python");
    script.arg(place::checkout().join("tests/readers/products.py"));
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let asked = json!({"source": source, "target": target}).to_string();
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_demo_closes_hours_aggregates_them_and_late_rows_redo_their_hour_alone() {
    let folder = tempfile::Builder::new().prefix("weir-demo-test-").tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let events = EVENTS.to_string();
    let output = process::output(&mut weir(&["demo", "--keep", home, "--events", &events]));
    let (out, talk) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}\n{talk}");
    assert!(out.contains("every record exactly once"), "{out}");
    assert!(talk.contains("second revision now: 1\n"), "{talk}");
    // Whatever the minute: hours are closed that are full, and hold some of what was sent twice.
    let removed = out.split(" duplicates removed +").next().and_then(|text| text.rsplit(' ').next());
    assert!(removed.unwrap().parse::<u64>().unwrap() > 10, "{out}");

    // One hour ran twice, with other figures the second time; the others once.
    let hours = aggregated(&out);
    let again: Vec<_> = hours.iter().filter(|(_, runs)| runs.len() > 1).collect();
    let [(hour, runs)] = again.as_slice() else { panic!("{out}") };
    assert_eq!((runs[0].0, runs[1].0), (1, 2), "{out}");
    assert_ne!(runs[0].1, runs[1].1, "{out}");
    assert!(hours.len() > 3 && hours.values().all(|runs| runs[0].0 == 1), "{out}");
    assert!(
        talk.contains(&format!("   weir.on_close aggregate:clickstream_products: {} times\n", hours.len()))
    );
    assert!(talk.contains("   weir.on_close aggregate:clickstream_products: once\n"), "{talk}");

    // So it stands in the catalog, source and target alike.
    let lake = folder.path().join("lake");
    let (mut source, target) = (revisions(&lake, "clickstream"), revisions(&lake, "clickstream_products"));
    source.retain(|_, revision| *revision > 0);
    assert_eq!(source, target);
    assert_eq!(
        target.iter().filter(|(_, revision)| **revision == 2).map(|(h, _)| h).collect::<Vec<_>>(),
        [*hour]
    );

    // Each revision was told once.
    let told = std::fs::read_to_string(folder.path().join("state/events.ndjson")).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: BTreeSet<_> = told.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), told.len()), (hours.len() + 1, hours.len() + 1));

    let Some(python) = Python::get() else { return };
    let lake = lake.to_str().unwrap();
    let (source, target) = (closed_files(lake, "clickstream"), closed_files(lake, "clickstream_products"));
    let same = compare(&python, &source, &target);
    assert_eq!((&same["missing"], &same["wrong"]), (&json!(0), &json!(0)), "{same}");
    assert!(same["rows"].as_u64().unwrap() > 300 && same["purchases"].as_u64().unwrap() > 20, "{same}");
    // A fault, to see that it would be seen: an hour of the source is missing.
    let fault = compare(&python, &source[1..], &target);
    assert!(fault["wrong"].as_u64().unwrap() > 0, "{fault}");
}

#[test]
fn the_demo_takes_a_file_and_its_table() {
    let folder = tempfile::Builder::new().prefix("weir-demo-test-").tempdir().unwrap();
    let file = folder.path().join("clicks.ndjson");
    let line = |n: u32| {
        let time = format!("2026-01-0{}T03:04:05Z", 1 + n % 3);
        json!({"event_id": n.to_string(), "event_type": "click", "event_time": time, "user_id": n})
            .to_string()
    };
    std::fs::write(&file, (0..900).map(|n| line(n) + "\n").collect::<String>()).unwrap();
    let out = process::run(&mut weir(&["demo", "--data", file.to_str().unwrap(), "--table", "clickstream"]));
    assert!(
        out.contains("900 rows + 0 duplicates removed + 0 dead letters + 0 given up = 900 records sent"),
        "{out}"
    );
    assert!(out.contains("every record exactly once"), "{out}");
    let closed =
        out.lines().find(|line| line.contains("partitions closed")).unwrap_or_else(|| panic!("{out}"));
    assert!(closed.split_whitespace().any(|word| word == "3"), "{closed}");
}
