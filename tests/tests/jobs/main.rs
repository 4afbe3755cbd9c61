#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! Aggregation jobs: the same SQL file over the same closed partitions on DataFusion and on Spark.

mod closing;
mod function;
mod on_glue;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::lake::Lake;
use weir_tests::python::Python;
use weir_tests::{place, process};

use closing::close;

/// Tables with their events, and the jobs that read them.
const SOURCES: [(&str, usize, &[&str]); 3] = [
    (
        "clickstream",
        6_000,
        &["clickstream_sessions", "clickstream_pages", "clickstream_products", "all_functions"],
    ),
    ("access_log", 4_000, &["access_log_traffic"]),
    ("sensor_readings", 4_000, &["sensor_statistics_5m"]),
];

/// A lake with the jobs of the checkout and the one of all functions.
struct World {
    lake: Lake,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tests = place::checkout().join("tests/jobs");
        for (kind, extension) in [("jobs", "sql"), ("schemas", "json")] {
            let target = folder.path().join(kind);
            fs::create_dir(&target).unwrap();
            let own = tests.join(format!("all_functions.{extension}"));
            let files =
                fs::read_dir(place::checkout().join(kind)).unwrap().map(|entry| entry.unwrap().path());
            for file in files.filter(|f| f.extension().is_some_and(|e| e == extension)).chain([own]) {
                fs::copy(&file, target.join(file.file_name().unwrap())).unwrap();
            }
        }
        let world = Self { lake: Lake::empty(), folder };
        world.weir(["tables", "apply"]);
        world
    }

    fn jobs(&self) -> PathBuf {
        self.folder.path().join("jobs")
    }

    fn command<const N: usize>(&self, arguments: [&str; N]) -> std::process::Command {
        let mut weir = self.lake.weir(arguments);
        weir.env("WEIR_JOBS", self.jobs())
            .env("WEIR_SCHEMAS", self.folder.path().join("schemas"))
            .env("WEIR_STATE", self.folder.path().join("state"));
        weir
    }

    fn weir<const N: usize>(&self, arguments: [&str; N]) -> String {
        process::run(&mut self.command(arguments))
    }

    fn load(&self, python: &Python, table: &str, seed: usize, count: usize) {
        let (seed, count) = (seed.to_string(), count.to_string());
        let events = python.run("jobs/make_events.py", [table, &seed, &count]);
        let file = self.folder.path().join(format!("{table}-{seed}.ndjson"));
        fs::write(&file, events).unwrap();
        let report = self.weir(["ingest", file.to_str().unwrap(), "--table", table, "--json"]);
        let report: Value = serde_json::from_str(report.trim()).unwrap();
        assert_eq!(report["dead_letters"], 0, "{table}: {report}");
    }

    /// What each closed partition came to.
    fn run(&self, job: &str) -> Vec<Value> {
        let lines = self.weir(["jobs", "run", job, "--json", "--memory-mb", "128"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Every file that a job wrote is in the lake's profile.
fn assert_profile(world: &World) {
    use parquet::basic::{Compression, ConvertedType, Encoding, Type};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let files = world.lake.lying_files("clickstream_products");
    let of_runs = files.iter().filter(|file| file.ends_with("part-00000.parquet"));
    for path in of_runs.clone() {
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let metadata = reader.metadata();
        assert_eq!(metadata.file_metadata().version(), 1);
        let footer = metadata.file_metadata().key_value_metadata().unwrap();
        assert!(footer.iter().any(|f| f.key == "weir.job") && footer.iter().all(|f| f.key != "ARROW:schema"));
        for group in metadata.row_groups() {
            for column in group.columns() {
                let of_profile = |e: Encoding| {
                    matches!(
                        e,
                        Encoding::PLAIN
                            | Encoding::RLE
                            | Encoding::RLE_DICTIONARY
                            | Encoding::PLAIN_DICTIONARY
                    )
                };
                assert!(column.encodings().all(of_profile), "{path:?} {column:?}");
                assert!(matches!(column.compression(), Compression::ZSTD(_)));
                match column.column_path().string().as_str() {
                    "hour_start" => assert_eq!(
                        (column.column_type(), column.column_descr().converted_type()),
                        (Type::INT64, ConvertedType::TIMESTAMP_MICROS)
                    ),
                    "revenue" => assert_eq!(column.column_type(), Type::INT64),
                    _ => {}
                }
            }
        }
    }
    assert!(of_runs.count() >= 4);
}

/// Pipe lines of JSON through a script.
fn piped(mut command: std::process::Command, lines: &[Value]) -> Vec<Value> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn local(location: &Value) -> String {
    location.as_str().unwrap().trim_start_matches("file://").trim_start_matches("file:").to_owned()
}

fn keys_of(jobs: &Path, job: &str) -> Vec<String> {
    let sql = fs::read_to_string(jobs.join(format!("{job}.sql"))).unwrap();
    let keys = sql.lines().find_map(|line| line.strip_prefix("-- keys: ")).unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn datafusion_and_spark_answer_every_job_alike_row_by_row() {
    let (Some(python), Some(spark)) = (Python::get(), Python::spark()) else { return };
    let world = World::new();
    let (mut ours, mut on_spark) = (Vec::new(), Vec::new());
    for (table, count, jobs) in SOURCES {
        world.load(&python, table, 1, count);
        close(&world, table, 1);
        for job in jobs {
            assert!(!world.run(job).is_empty());
        }
        // Rows that come after the close make a second revision, and the aggregates follow.
        world.load(&python, table, 2, count / 10);
        let closed = close(&world, table, 2);
        assert!(closed.len() > 1, "{table}: {closed:?}");
        for job in jobs {
            for (done, (partition, location)) in world.run(job).into_iter().zip(&closed) {
                assert_eq!(
                    (&done["partition"], &done["switched"]),
                    (&json!(partition), &json!(true)),
                    "{done}"
                );
                assert_eq!(done["revision"], 2, "{done}");
                on_spark
                    .push(json!({"job": job, "partition": partition, "location": location, "revision": 2}));
                ours.push((job, done));
            }
        }
    }
    // A fault, to see that it would be seen: Spark gets another SQL for one of the runs.
    let traffic = fs::read_to_string(world.jobs().join("access_log_traffic.sql")).unwrap();
    let planted = traffic.replace("count(DISTINCT client_ip)", "count(client_ip)");
    assert_ne!(planted, traffic);
    fs::write(world.jobs().join("planted.sql"), planted).unwrap();
    let (at, mut fault) =
        on_spark.iter().cloned().enumerate().find(|(_, r)| r["job"] == "access_log_traffic").unwrap();
    fault["job"] = json!("planted");
    on_spark.push(fault);

    let mut command = spark.tool("python");
    let script = place::checkout().join("tests/jobs/on_spark.py");
    command
        .arg(script)
        .arg(place::checkout().join("jobs/run_sql.py"))
        .arg(world.jobs())
        .arg(world.lake.url());
    let mut theirs = piped(command, &on_spark);
    assert_eq!(theirs.len(), ours.len() + 1);
    let fault = theirs.pop().unwrap();
    let pair = |((job, ours), theirs): (&(&&str, Value), &Value)| {
        assert_eq!(ours["rows"], theirs["rows"], "{job}: {ours} {theirs}");
        let name = format!("{job} {}", ours["partition"].as_str().unwrap());
        let keys = keys_of(&world.jobs(), job);
        json!({"name": name, "ours": local(&ours["location"]), "theirs": local(&theirs["location"]), "keys": keys})
    };
    let pairs: Vec<Value> = ours.iter().zip(&theirs).map(pair).collect();
    let compare = |pairs: &[Value]| {
        let mut command = python.tool("python");
        command.arg(place::checkout().join("tests/jobs/compare.py"));
        piped(command, pairs).pop().unwrap()
    };
    let report = compare(&pairs);
    eprintln!("{report}");
    assert_eq!(report["differences"], 0, "{report:#}");
    assert_profile(&world);
    assert!(
        report["rows"].as_u64().unwrap() > 5_000 && report["nulls"].as_u64().unwrap() > 5_000,
        "{report}"
    );
    let seen = compare(&[pair((&ours[at], &fault))]);
    assert!(seen["differences"].as_u64().unwrap() > 0, "the planted fault was not seen: {seen}");
}

#[test]
fn a_run_replaces_one_partition_whole_and_running_again_changes_nothing() {
    let Some(python) = Python::get() else { return };
    let world = World::new();
    world.load(&python, "clickstream", 1, 3_000);
    close(&world, "clickstream", 1);
    let first = world.run("clickstream_sessions");
    assert!(first.iter().all(|done| done["switched"] == true), "{first:?}");
    let events = "select count(*) as n from clickstream where not coalesce(is_bot, false)";
    let aggregated = "select sum(events) as n from clickstream_sessions";
    assert_eq!(world.lake.number(aggregated), world.lake.number(events));
    let files = world.lake.lying_files("clickstream_sessions");

    let again = world.run("clickstream_sessions");
    assert!(again.iter().all(|done| done["switched"] == false), "{again:?}");
    assert_eq!(world.lake.lying_files("clickstream_sessions"), files, "a second run left files");

    // Late rows touch one partition's revision; the others keep theirs.
    world.load(&python, "clickstream", 2, 400);
    let closed = close(&world, "clickstream", 2);
    let (partition, _) = &closed[0];
    let one = world.weir(["jobs", "run", "clickstream_sessions", "--partition", partition, "--json"]);
    let one: Value = serde_json::from_str(one.trim()).unwrap();
    assert_eq!((&one["revision"], &one["switched"]), (&json!(2), &json!(true)));
    world.run("clickstream_sessions");
    assert_eq!(world.lake.number(aggregated), world.lake.number(events));

    // A changed job says so by its version, and replaces what the old one made.
    let file = world.jobs().join("clickstream_sessions.sql");
    let sql = fs::read_to_string(&file).unwrap();
    let changed =
        sql.replace("-- keys:", "-- version: 2\n-- keys:").replace("WHERE NOT coalesce(is_bot, false)", "");
    fs::write(&file, changed).unwrap();
    // The second outputs have stood for a day, but for one partition's: then the first ones go.
    let outputs = |revision: &str| {
        let mut files = world.lake.lying_files("clickstream_sessions");
        files.retain(|file| file.to_str().unwrap().contains(&format!("/r{revision}-")));
        files
    };
    let (mut first, second) = (outputs("0001"), outputs("0002"));
    assert!(second.len() > 1, "{second:?}");
    let partition_of = |file: &Path| file.parent().unwrap().parent().unwrap().to_owned();
    let old: Vec<_> = second[1..].iter().map(|file| partition_of(file)).collect();
    for file in &second[1..] {
        let file = fs::File::options().write(true).open(file).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - Duration::from_secs(25 * 3_600)).unwrap();
    }
    let third = world.run("clickstream_sessions");
    assert!(third.iter().all(|done| done["revision"] == 100_002 && done["switched"] == true), "{third:?}");
    assert_eq!(world.lake.number(aggregated), world.lake.number("select count(*) as n from clickstream"));
    first.retain(|file| !old.contains(&partition_of(file)));
    assert_eq!((outputs("0001"), outputs("0002")), (first, second));
    let collected: u64 = third.iter().map(|done| done["collected_files"].as_u64().unwrap()).sum();
    assert_eq!(collected, old.len() as u64);
}

#[test]
fn a_job_over_a_partition_that_is_not_closed_or_with_wrong_sql_is_refused_and_switches_nothing() {
    let world = World::new();
    let refused = |arguments: &[&str]| {
        let mut weir = world.lake.weir([]);
        weir.args(arguments)
            .env("WEIR_JOBS", world.jobs())
            .env("WEIR_SCHEMAS", world.folder.path().join("schemas"));
        let output = weir.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let open =
        refused(&["jobs", "run", "clickstream_pages", "--partition", "dt=2026-11-20/hour=2026-11-20-04"]);
    assert!(open.contains("is not closed; a job reads closed partitions"), "{open}");
    let unknown = refused(&["jobs", "run", "nothing"]);
    assert!(
        unknown.contains("there is no job nothing; jobs here: access_log_traffic, all_functions"),
        "{unknown}"
    );
    let loaded = world.folder.path().join("x.ndjson");
    fs::write(&loaded, "{}\n").unwrap();
    let loaded = refused(&["ingest", loaded.to_str().unwrap(), "--table", "clickstream_pages"]);
    assert!(loaded.contains("job clickstream_pages fills it (`weir.job`)"), "{loaded}");
    assert!(world.weir(["jobs", "check"]).lines().all(|line| line.ends_with(": good")));
    let file = world.jobs().join("clickstream_pages.sql");
    let sql = fs::read_to_string(&file).unwrap();
    fs::write(&file, sql.replace("count(*) - count(user_id)", "count(*) / count(user_id)")).unwrap();
    let wrong = refused(&["jobs", "check"]);
    assert!(wrong.contains("jobs/clickstream_pages.sql:24: `/` of whole numbers"), "{wrong}");
}

#[test]
fn closing_a_partition_runs_its_jobs_and_a_job_that_cannot_run_is_refused_visibly() {
    let Some(python) = Python::get() else { return };
    let world = World::new();
    let file = world.folder.path().join("schemas/access_log.json");
    let definition = fs::read_to_string(&file).unwrap();
    let actions = "\"weir.on_close\": \"aggregate:access_log_traffic,aggregate:nothing\",";
    fs::write(&file, definition.replace("\"weir.event_time\"", &format!("{actions} \"weir.event_time\"")))
        .unwrap();
    world.weir(["tables", "apply"]);
    world.load(&python, "access_log", 1, 2_000);
    let closed = close(&world, "access_log", 1);
    assert!(closed.len() > 1, "{closed:?}");
    let counts =
        ["select count(*) as n from access_log", "select sum(requests) as n from access_log_traffic"];
    let [rows, requests] = counts.map(|sql| world.lake.number(sql));
    assert_eq!(rows, requests);
    let status = world.weir(["status", "--json"]);
    assert!(status.contains("there is no job nothing; jobs here: access_log_traffic"), "{status}");
}
