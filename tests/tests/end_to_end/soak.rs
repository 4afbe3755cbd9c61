//! `weir up` under load while everything around it dies: the function's processes, the host, the
//! way to the store; and the shards split, merge and scale. In the end `weir verify` finds no gap and
//! no duplicate, and a count that shares no code with Weir finds each acknowledged event once.
//!
//! ```text
//! producers ──► weir up (8 shards) ──► function processes ──► proxy ──► SeaweedFS
//!  │ acknowledged   ▲ killed, stopped     ▲ killed              ▲ killed, failing
//!  └──────────────► exactly_once.py ◄── every file that lies there
//! ```

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::fault_proxy::{ALL_FAULTS, FaultProxy};
use weir_tests::lake::Lake;
use weir_tests::place;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;
use weir_tests::random::Random;
use weir_tests::seaweed::{self, BUCKET, CREDENTIALS, Seaweed};

const SHARDS: &str = "8";
const PREFIX: &str = "soak";
const STREAM: &str = "clickstream";
const PRODUCERS: usize = 2;
/// What may pass until everything put is committed once nothing fails any more.
const SETTLING: Duration = Duration::from_secs(180);

#[test]
fn nothing_is_lost_or_repeated_in_seconds_of_kills() {
    soak(Duration::from_secs(20));
}

/// `WEIR_SOAK_SECONDS=3600 cargo test -p weir-tests --test end_to_end minutes_of_kills -- --ignored --nocapture`
#[test]
#[ignore = "ten minutes"]
fn nothing_is_lost_or_repeated_in_minutes_of_kills() {
    let seconds = place::setting("WEIR_SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
    soak(Duration::from_secs(seconds));
}

/// What happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// One process of the function is killed.
    KillFunction,
    /// All of them are.
    KillFunctions,
    /// The host is killed, and started again after a while.
    KillHost,
    /// The host is asked to end, and started again after a while.
    StopHost,
    /// The proxy is killed, and started again after a while.
    KillProxy,
    /// Requests to the store fail in all ways for a while.
    Storm,
    /// The shards change: what, and how many are open afterwards.
    Reshard(&'static str, &'static str),
}

/// Twice split, twice merged, twice doubled and halved, spread over the run.
const RESHARDING: [(&str, &str); 8] = [
    ("split", "9"),
    ("scale", "16"),
    ("merge", "15"),
    ("scale", "8"),
    ("split", "9"),
    ("scale", "16"),
    ("merge", "15"),
    ("scale", "8"),
];

/// Blows with their moments, from a seed; each kind at least once.
fn plan(length: Duration, random: &mut Random) -> Vec<(Duration, Blow)> {
    use Blow::*;
    let kinds = [KillFunction, KillHost, KillFunctions, KillProxy, KillFunction, Storm, StopHost];
    let mut plan = Vec::new();
    let (mut at, mut number) = (Duration::from_millis(1_500), 0);
    while at < length {
        let blow = if number < kinds.len() { kinds[number] } else { kinds[random.below(7) as usize] };
        plan.push((at, blow));
        at += Duration::from_millis(500 + random.below(4_000));
        number += 1;
    }
    let steps = RESHARDING.len() as u32 + 1;
    plan.extend((1..).zip(RESHARDING).map(|(n, (what, to))| (length * n / steps, Reshard(what, to))));
    plan.sort_by_key(|(at, _)| *at);
    plan
}

fn soak(length: Duration) {
    let Some(python) = Python::get() else { return };
    let seed = place::setting("WEIR_SOAK_SEED").map_or(1, |text| text.parse().unwrap());
    let mut random = Random::new(seed);
    let mut world = World::start(&python, random.number());
    let begun = Instant::now();
    for (at, blow) in plan(length, &mut random) {
        world.live_until(begun + at);
        eprintln!("{:6.1} s {blow:?}", begun.elapsed().as_secs_f64());
        world.strike(blow, &mut random);
    }
    world.live_until(begun + length);
    let report = world.settle();
    eprintln!("{report}");
    eprintln!("soak of {length:?}, seed {seed}: each acknowledged event is there exactly once");
}

/// Something that was killed, and when it comes back.
type Absent = Option<Instant>;

struct World {
    // Dropped in this order: who asks before who answers.
    producers: Vec<Running>,
    resharding: Vec<Running>,
    host: Option<Running>,
    proxy: Option<FaultProxy>,
    store: Seaweed,
    python: Python,
    lake: Lake,
    port: u16,
    store_port: u16,
    host_back: Absent,
    proxy_back: Absent,
    storm_over: Absent,
    seed: u64,
    done: Vec<(Blow, u64)>,
}

impl World {
    fn start(python: &Python, seed: u64) -> Self {
        let store = Seaweed::start(python);
        let proxy = FaultProxy::start(store.port(), seed);
        let store_port = proxy.port();
        let lake = Lake::at(&format!("s3://{BUCKET}/{PREFIX}"), seaweed::environment(&proxy.endpoint()));
        lake.apply_tables();
        let mut world = Self {
            producers: Vec::new(),
            resharding: Vec::new(),
            host: None,
            proxy: Some(proxy),
            store,
            python: python.clone(),
            lake,
            port: process::free_port(),
            store_port,
            host_back: None,
            proxy_back: None,
            storm_over: None,
            seed,
            done: Vec::new(),
        };
        world.start_host();
        assert!(process::wait_until(Duration::from_secs(30), || process::accepts(world.port)));
        for n in 0..PRODUCERS {
            let mut producer = python.tool("python");
            producer.arg(place::checkout().join("tests/producers/keep_putting.py"));
            producer.args([&world.endpoint(), STREAM, &format!("p{n}")]).arg(world.acked(n));
            world.producers.push(Running::start(&mut producer, &world.log("producers")));
        }
        world
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.lake.path().join(format!("{name}.log"))
    }

    fn acked(&self, producer: usize) -> PathBuf {
        self.lake.path().join(format!("acked-{producer}"))
    }

    fn state(&self) -> PathBuf {
        self.lake.path().join("state")
    }

    fn start_host(&mut self) {
        let mut up = self.lake.weir([
            "up",
            "--table",
            STREAM,
            "--shards",
            SHARDS,
            "--window",
            "1s",
            "--close-every",
            "0s",
        ]);
        up.args(["--port", &self.port.to_string(), "--state"]).arg(self.state());
        self.host = Some(Running::start(&mut up, &self.log("up")));
        self.host_back = None;
    }

    /// Let time pass; who is due comes back, and a host that could not start is started again, as a
    /// supervisor would.
    fn live_until(&mut self, end: Instant) {
        loop {
            let now = Instant::now();
            let due = |absent: &Absent| absent.is_some_and(|back| back <= now);
            if due(&self.proxy_back) {
                self.seed += 1;
                self.proxy = Some(FaultProxy::start_at(self.store_port, self.store.port(), self.seed));
                self.proxy_back = None;
            }
            if due(&self.storm_over) {
                self.storm_over = None;
                self.proxy.iter().for_each(|proxy| proxy.set(&[]));
            }
            if self.host.as_mut().is_some_and(|host| !host.is_running()) {
                self.host = None;
                self.host_back = Some(now + Duration::from_millis(500));
            }
            if due(&self.host_back) {
                self.start_host();
            }
            assert!(self.producers.iter_mut().all(Running::is_running), "{}", self.producers[0].written());
            if now >= end {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn strike(&mut self, blow: Blow, random: &mut Random) {
        let mut after = |least: u64, most: u64| {
            Some(Instant::now() + Duration::from_millis(least + random.below(most - least)))
        };
        let struck = match blow {
            Blow::KillFunction | Blow::KillFunctions => {
                let all = self.host.as_ref().map(|host| process::children(host.pid())).unwrap_or_default();
                let how_many = if blow == Blow::KillFunction { 1 } else { all.len() };
                all.iter().take(how_many).for_each(|pid| process::kill(*pid));
                all.len().min(how_many) as u64
            }
            Blow::KillHost => self.host.take().map_or(0, |host| {
                host.kill();
                self.host_back = after(0, 2_000);
                1
            }),
            Blow::StopHost => self.host.as_ref().map_or(0, |host| {
                process::terminate(host.pid());
                1
            }),
            Blow::KillProxy => self.proxy.take().map_or(0, |proxy| {
                drop(proxy);
                self.proxy_back = after(500, 5_000);
                1
            }),
            Blow::Storm => self.proxy.as_ref().map_or(0, |proxy| {
                proxy.set(&ALL_FAULTS.map(|fault| (fault, 40)));
                self.storm_over = after(2_000, 5_000);
                1
            }),
            Blow::Reshard(what, to) => {
                let mut python = self.python.tool("python");
                python.arg(place::checkout().join("tests/producers/reshard.py"));
                // One after the other: each is told how many shards the one before left.
                self.resharding_done();
                let log = self.log("resharding");
                self.resharding.push(Running::start(python.args([&self.endpoint(), STREAM, what, to]), &log));
                1
            }
        };
        let kind = std::mem::discriminant(&blow);
        match self.done.iter_mut().find(|(known, _)| std::mem::discriminant(known) == kind) {
            Some((_, n)) => *n += struck,
            None => self.done.push((blow, struck)),
        }
    }

    fn resharding_done(&mut self) {
        for mut running in std::mem::take(&mut self.resharding) {
            let end = Instant::now() + Duration::from_secs(120);
            while running.is_running() && Instant::now() < end {
                self.live_until(Instant::now());
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(running.wait(Duration::from_secs(1)).success(), "{}", running.written());
        }
    }

    /// Nothing fails any more: everything put is committed, and judged.
    fn settle(mut self) -> String {
        self.storm_over = Some(Instant::now());
        self.resharding_done();
        self.live_until(Instant::now() + Duration::from_secs(6));
        for producer in std::mem::take(&mut self.producers) {
            assert!(producer.stop(Duration::from_secs(60)).success(), "{}", self.read("producers"));
        }
        let up = || self.read("up");
        assert!(process::wait_until(SETTLING, || self.is_drained()), "{}", up());
        let verified = self.verify();
        let counts = self.count();
        let status = self.status();
        let given_up = status["given_up"].as_array().unwrap();
        assert!(given_up.is_empty(), "batches were given up: {given_up:?}\n{}", up());
        let total: i64 = ["rows", "letters"].iter().map(|field| counts[field].as_i64().unwrap()).sum();
        assert!(
            verified.contains(&format!("no gap, no duplicate, {total} records, ")),
            "{verified}\n{counts}"
        );
        let blows = self.done.iter().map(|(blow, n)| format!("{n} × {blow:?}")).collect::<Vec<_>>();
        format!(
            "{}{}{}\n{}\n{verified}{counts}",
            self.read("resharding"),
            self.read("producers"),
            format_args!("shards: {}", status["shards"].as_object().unwrap().len()),
            blows.join(", ")
        )
    }

    fn read(&self, log: &str) -> String {
        std::fs::read_to_string(self.log(log)).unwrap_or_default()
    }

    fn status(&self) -> Value {
        let mut status = self.lake.weir(["status", "--json", "--state"]);
        let text = process::run(status.arg(self.state()));
        serde_json::from_str::<Value>(&text).unwrap()["runtime"].take()
    }

    /// Every shard is read, those that are closed to their end.
    fn is_drained(&self) -> bool {
        std::thread::sleep(Duration::from_millis(500));
        let status = self.status();
        let Some(shards) = status["shards"].as_object() else { return false };
        let mut verify = self.verify_command();
        shards.values().all(|shard| shard["records_pending"] == 0)
            && String::from_utf8_lossy(&process::output(&mut verify).stderr)
                .contains(", 0 are not loaded yet")
    }

    fn verify_command(&self) -> std::process::Command {
        let mut verify = self.lake.weir(["verify", "--stream", STREAM, "--endpoint"]);
        verify.arg(self.endpoint()).arg("--state").arg(self.state());
        verify
    }

    fn verify(&self) -> String {
        let output = process::output(&mut self.verify_command());
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(output.status.success(), "{text}\n{}", self.read("up"));
        text
    }

    fn count(&self) -> Value {
        let mut arguments = vec![self.store.endpoint(), CREDENTIALS.0.into(), CREDENTIALS.1.into()];
        arguments.extend([format!("{BUCKET}/{PREFIX}"), STREAM.to_owned()]);
        arguments.extend((0..PRODUCERS).map(|n| self.acked(n).to_str().unwrap().to_owned()));
        let counts: Value =
            serde_json::from_str(&self.python.run("readers/exactly_once.py", arguments)).unwrap();
        assert_eq!(counts["acknowledged"], counts["found_and_acknowledged"], "{counts}");
        assert!(counts["acknowledged"].as_i64().unwrap() > 1_000, "too little load: {counts}");
        counts
    }
}
