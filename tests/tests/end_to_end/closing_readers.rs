//! Readers in a loop while partitions close in a loop: each read of a partition finds one state that
//! was acknowledged, all of it and nothing beside it, and never an older one than the read before.
//! Closers are killed at random moments; superseded files go, late in one half and at once in the
//! other.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::lake::Lake;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;
use weir_tests::random::Random;
use weir_tests::seaweed::{BUCKET, Seaweed};
use weir_tests::{binaries, place};

const HOURS: [&str; 3] = ["2026-01-02-03", "2026-01-02-04", "2026-01-03-00"];
/// Rows and sum of `user_id`: another one for each batch.
type State = (u64, i64);

/// What is known of the lake, at any moment.
#[derive(Debug, Clone, Default)]
struct Known {
    /// By hour, what stood there after each batch; the first one is empty.
    states: BTreeMap<String, Vec<State>>,
    /// Batches that were begun, acknowledged, and acknowledged before a close that has ended began.
    begun: usize,
    acknowledged: usize,
    closed: usize,
    /// Batches that were acknowledged when the first close began: until then readers see live files.
    first_close: Option<usize>,
}

impl Known {
    /// The least that a read that begins now has to find.
    fn least(&self) -> usize {
        self.closed.max(self.first_close.unwrap_or(self.acknowledged))
    }
}

/// What a reader found so far.
#[derive(Debug, Default)]
struct Seen {
    reads: usize,
    gone: usize,
    /// Newest state by hour.
    last: BTreeMap<String, usize>,
    changes: usize,
    wrong: Vec<String>,
}

impl Seen {
    /// Whether it has seen enough to prove something.
    fn is_content(&self) -> bool {
        self.reads > 5 && self.changes > 3
    }

    /// Hold one read against what was known when it began and when it ended.
    fn judge(&mut self, (before, after): (&Known, &Known), found: &BTreeMap<String, State>) {
        self.reads += 1;
        for hour in HOURS {
            let (states, found) = (&after.states[hour], found.get(hour).copied().unwrap_or_default());
            let Some(at) = states.iter().position(|state| *state == found) else {
                self.wrong.push(format!("{hour}: {found:?} is no state; states: {states:?}"));
                continue;
            };
            let last = self.last.insert(hour.to_owned(), at).unwrap_or_default();
            let least = before.least().max(last);
            if at < least || at > after.begun {
                let most = after.begun;
                self.wrong.push(format!("{hour}: state {at}; it should be {least} to {most} (last {last})"));
            }
            self.changes += usize::from(at > last);
        }
    }
}

/// What writer and readers share.
struct World {
    lake: Lake,
    known: Mutex<Known>,
    over: AtomicBool,
    /// Readers that have seen enough.
    content: AtomicUsize,
}

impl World {
    fn new(lake: Lake) -> Self {
        lake.apply_tables();
        let mut known = Known::default();
        for hour in HOURS {
            known.states.insert(hour.to_owned(), vec![(0, 0)]);
        }
        Self { lake, known: Mutex::new(known), over: AtomicBool::new(false), content: AtomicUsize::new(0) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One reader, until the writer is done.
    fn read(&self, mut reader: impl FnMut() -> Option<BTreeMap<String, State>>) -> Seen {
        let mut seen = Seen::default();
        while !self.over.load(Ordering::Relaxed) {
            let before = self.known().clone();
            match reader() {
                Some(found) => {
                    let after = self.known().clone();
                    let was_content = seen.is_content();
                    seen.judge((&before, &after), &found);
                    if seen.is_content() && !was_content {
                        self.content.fetch_add(1, Ordering::Relaxed);
                    }
                }
                None => seen.gone += 1,
            }
        }
        seen
    }

    /// DataFusion, as `weir query`.
    fn query(&self) -> Option<BTreeMap<String, State>> {
        let sql = "select hour, count(*) as n, sum(user_id) as s from clickstream group by hour";
        let rows = self.lake.query(sql);
        let state = |row: &Value| (row["n"].as_u64().unwrap(), row["s"].as_i64().unwrap());
        Some(rows.iter().map(|row| (row["hour"].as_str().unwrap().to_owned(), state(row))).collect())
    }
}

/// Loads batches and closes, again and again.
struct Writer<'a> {
    world: &'a World,
    random: Random,
    rounds: usize,
    kills: usize,
    /// Of the close before: kills lie within it.
    took: Duration,
    /// Most closers that are killed in a round: where nothing can be aged, a killed one holds its
    /// partitions for 20 minutes.
    most_kills: u64,
}

impl<'a> Writer<'a> {
    fn new(world: &'a World, seed: u64) -> Self {
        let took = Duration::from_millis(300);
        Self { world, random: Random::new(seed), rounds: 0, kills: 0, took, most_kills: 2 }
    }

    /// A batch for every hour, loaded to its end.
    fn load(&mut self) {
        let batch = self.world.known().begun + 1;
        let mut lines = String::new();
        let mut added = BTreeMap::<_, State>::new();
        for hour in HOURS {
            let (day, of_day) = hour.rsplit_once('-').unwrap();
            let added = added.entry(hour).or_default();
            for n in 0..40 + self.random.below(60) {
                let user = 1 + self.random.below(1 << 40);
                let line = json!({"event_id": format!("{hour}-{batch}-{n}"), "event_type": "click",
                    "event_time": format!("{day}T{of_day}:{:02}:00Z", n % 60), "user_id": user});
                lines += &format!("{line}\n");
                *added = (added.0 + 1, added.1 + user as i64);
            }
        }
        {
            // Known before it is begun: a reader may see it before it is acknowledged.
            let mut known = self.world.known();
            known.begun = batch;
            for (hour, (rows, sum)) in added {
                let states = known.states.get_mut(hour).unwrap();
                let (before, total) = states[batch - 1];
                states.push((before + rows, total + sum));
            }
        }
        let file = self.world.lake.path().join(format!("batch-{batch}.ndjson"));
        std::fs::write(&file, lines).unwrap();
        let file = file.to_str().unwrap();
        process::run(&mut self.world.lake.weir(["ingest", file, "--table", "clickstream"]));
        self.world.known().acknowledged = batch;
    }

    fn close_command(&self, grace: &str) -> Command {
        let mut close = self.world.lake.weir(["close", "--table", "clickstream", "--grace", grace]);
        close.env("WEIR_STATE", self.world.lake.path().join("state"));
        close
    }

    /// Close what is there, the first closers killed after a random time.
    fn close(&mut self, grace: &str, kills: u64) {
        let covers = {
            let mut known = self.world.known();
            let covers = known.acknowledged;
            known.first_close.get_or_insert(covers);
            covers
        };
        let folder = self.world.lake.path();
        for _ in 0..kills {
            let pause = self.took.mul_f64(self.random.below(1_000) as f64 / 1_000.0);
            let mut closer = Running::start(&mut self.close_command(grace), &folder.join("close.log"));
            let ended = process::wait_until(pause, || !closer.is_running());
            closer.kill();
            self.kills += usize::from(!ended);
            self.world.lake.let_closers_die();
        }
        let began = Instant::now();
        process::run(&mut self.close_command(grace));
        self.took = began.elapsed();
        self.world.known().closed = covers;
        self.rounds += 1;
    }

    /// Batches and closes, for that long, and on a slow machine until each reader has seen enough.
    fn go_on(&mut self, grace: &str, during: Duration) {
        let begun = Instant::now();
        let world = self.world;
        let enough = || begun.elapsed() > during && world.content.load(Ordering::Relaxed) == 3;
        while !enough() && begun.elapsed() < during * 10 {
            for _ in 0..1 + self.random.below(2) {
                self.load();
            }
            let kills = self.random.below(1 + self.most_kills);
            self.close(grace, kills);
        }
    }
}

/// DuckDB in a process of its own, asked line by line.
struct DuckDb {
    _process: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl DuckDb {
    fn start(python: &Python, lake: &Lake) -> Self {
        let mut command = python.tool("python");
        command.arg(place::checkout().join("tests/readers/closing_lake.py"));
        let address = lake.url();
        command.arg(binaries::weir()).arg("clickstream").arg(address.trim_start_matches("file://"));
        command.envs(lake.environment());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { _process: Killed(child), input, output }
    }

    /// None where files went while they were read.
    fn ask(&mut self, way: &str) -> Option<BTreeMap<String, State>> {
        writeln!(self.input, "{way}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{way}: {line:?}: {e}"));
        let hours = answer.get("hours")?;
        Some(serde_json::from_value(hours.clone()).unwrap())
    }
}

/// Writer and readers side by side for that long; what each reader saw.
fn side_by_side(writer: &mut Writer<'_>, python: &Python, (grace, during): (&str, Duration)) -> [Seen; 3] {
    let world = writer.world;
    // Where files go at once, one that has its list for long finds them gone, and one that lists a
    // folder has to look whether it is still the one.
    let (by_list, at_location) = if grace == "0s" { ("slow", "careful") } else { ("files", "location") };
    world.over.store(false, Ordering::Relaxed);
    world.content.store(0, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let duckdb = |way: &'static str| {
            scope.spawn(move || {
                let mut duckdb = DuckDb::start(python, &world.lake);
                world.read(|| duckdb.ask(way))
            })
        };
        let readers = [scope.spawn(|| world.read(|| world.query())), duckdb(by_list), duckdb(at_location)];
        // A reader that is never told to end would hold up a failure of the writer.
        let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.go_on(grace, during)));
        world.over.store(true, Ordering::Relaxed);
        let seen = readers.map(|reader| reader.join().unwrap());
        written.unwrap();
        seen
    })
}

/// The whole run; panics with what a reader saw that it should not have.
fn run(python: &Python, lake: Lake, (seed, most_kills): (u64, u64), half: Duration) {
    let world = World::new(lake);
    let mut writer = Writer { most_kills, ..Writer::new(&world, seed) };
    // Live files first: readers are there before anything is closed.
    writer.load();
    for grace in ["24h", "0s"] {
        let seen = side_by_side(&mut writer, python, (grace, half));
        for (reader, seen) in ["DataFusion", "Python by list", "Python by location"].iter().zip(seen) {
            let Seen { reads, gone, changes, .. } = &seen;
            eprintln!(
                "grace {grace}, {reader}: {reads} reads, {changes} new states, {gone} times files had gone"
            );
            assert_eq!(seen.wrong, Vec::<String>::new(), "seed {seed}, grace {grace}, {reader}");
            assert!(grace == "0s" || *gone == 0, "seed {seed}, {reader}: files went within the grace");
            assert!(seen.is_content(), "seed {seed}, {reader}: {reads} reads, {changes} changes");
        }
    }
    eprintln!("{} closes, {} closers killed", writer.rounds, writer.kills);
    assert!(writer.kills > 0 || most_kills == 0);

    // At rest: one state, nothing superseded is left, and nothing is missing or twice.
    writer.load();
    writer.close("0s", 0);
    writer.close("0s", 0);
    let mut last = Seen::default();
    let known = world.known().clone();
    last.judge((&known, &known), &world.query().unwrap());
    assert_eq!(last.wrong, Vec::<String>::new());
    if world.lake.url().starts_with("file://") {
        let mut shown = world.lake.files("clickstream");
        shown.sort();
        assert_eq!(world.lake.lying_files("clickstream"), shown);
    }
    process::run(&mut world.lake.weir(["verify"]));
}

#[test]
fn every_read_while_partitions_close_finds_one_acknowledged_state_and_never_an_older_one() {
    let Some(python) = Python::get() else { return };
    run(&python, Lake::empty(), (4, 2), Duration::from_secs(6));
}

#[test]
#[ignore = "some minutes; more seeds and more closes"]
fn every_read_while_partitions_close_finds_one_state_for_minutes() {
    let Some(python) = Python::get() else { return };
    for seed in 100..104 {
        run(&python, Lake::empty(), (seed, 2), Duration::from_secs(25));
    }
    every_read_of_a_lake_on_s3(&python, Duration::from_secs(25));
}

#[test]
fn every_read_of_a_lake_on_s3_while_partitions_close_finds_one_state() {
    let Some(python) = Python::get() else { return };
    every_read_of_a_lake_on_s3(&python, Duration::from_secs(4));
}

fn every_read_of_a_lake_on_s3(python: &Python, half: Duration) {
    let s3 = Seaweed::start(python);
    let lake = Lake::at(&format!("s3://{BUCKET}/closing"), s3.environment());
    run(python, lake, (5, 0), half);
}

#[test]
fn a_query_that_outlasts_the_grace_is_run_again_over_the_revision_that_came_after() {
    let world = World::new(Lake::empty());
    let mut writer = Writer::new(&world, 3);
    writer.load();
    writer.close("0s", 0);
    let sql = "select hour, count(*) as n, sum(user_id) as s from clickstream group by hour";
    let query =
        |log: &str| Running::start(&mut world.lake.weir(["query", sql]), &world.lake.path().join(log));
    let began = Instant::now();
    assert!(query("log").wait(Duration::from_secs(60)).success());
    let took = began.elapsed();
    // Held at one moment after another of its run, until one lies between its list and its files.
    for n in 0..40 {
        let mut held = query(&format!("log-{n}"));
        std::thread::sleep(took.mul_f64(f64::from(n * 7 % 20) / 20.0));
        process::pause(held.pid());
        writer.load();
        writer.close("0s", 0);
        writer.close("0s", 0);
        process::resume(held.pid());
        assert!(held.wait(Duration::from_secs(60)).success(), "moment {n}: {}", held.written());
        if held.written().contains("files were superseded") {
            let known = world.known();
            let newest = known.states.values().map(|states| states[known.begun]);
            for (rows, sum) in newest {
                let line = held.written();
                assert!(
                    line.contains(&format!("| {rows} ")) && line.contains(&format!("| {sum} ")),
                    "{line}"
                );
            }
            return;
        }
    }
    panic!("no query was held between its list and its files");
}

#[test]
fn a_reader_of_live_and_closed_files_together_and_one_that_goes_back_are_caught() {
    let Some(python) = Python::get() else { return };
    let world = World::new(Lake::empty());
    let mut writer = Writer::new(&world, 1);
    let mut duckdb = DuckDb::start(&python, &world.lake);
    let judged = |duckdb: &mut DuckDb, way: &str, seen: &mut Seen| {
        let known = world.known().clone();
        seen.judge((&known, &known), &duckdb.ask(way).unwrap());
        seen.wrong.len()
    };
    let (mut right, mut wrong) = (Seen::default(), Seen::default());
    writer.load();
    assert_eq!(judged(&mut duckdb, "files", &mut right), 0);
    assert_eq!(judged(&mut duckdb, "both", &mut wrong), 0);
    writer.close("24h", 0);
    assert_eq!(judged(&mut duckdb, "files", &mut right), 0);
    assert_eq!(judged(&mut duckdb, "location", &mut right), 0);
    assert_eq!(judged(&mut duckdb, "both", &mut wrong), HOURS.len(), "rows twice went unnoticed");
    // Half a revision, and an older one.
    let known = world.known().clone();
    let whole = known.states.iter().map(|(hour, states)| (hour.clone(), states[1]));
    let mut half: BTreeMap<String, State> = whole.collect();
    half.get_mut(HOURS[0]).unwrap().0 -= 1;
    right.judge((&known, &known), &half);
    assert_eq!(right.wrong.len(), 1);
    right.judge((&known, &known), &BTreeMap::new());
    assert_eq!(right.wrong.len(), 1 + HOURS.len());
}
