//! The deployed function `close` with a stream, a Glue catalog and the services that wait for
//! partitions: what it closes, switches and starts, also where it is killed on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::aws::{Aws, StandIn};
use weir_tests::lake::Lake;
use weir_tests::python::Python;
use weir_tests::runtime_api::Function;
use weir_tests::seaweed::{BUCKET, Seaweed};
use weir_tests::{binaries, place, process};

const DATABASE: &str = "closing";
const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const HOURS: usize = 12;
const STREAM: &str = "clicks";

/// Lambda as close sees it: takes every event; a line of what it was given each.
fn lambda() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            let length =
                head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() || body.is_empty() {
                // Who asked was killed in the middle of it.
                continue;
            }
            assert!(head.starts_with("POST /2015-03-31/functions/aggregate/invocations "), "{head}");
            let _ = sender.send(serde_json::from_slice(&body).unwrap());
            let _ = stream.write_all(
                b"HTTP/1.1 202 Accepted\r\nx-amzn-RequestId: r-7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    (address, asked)
}

/// Values → location of the partitions that Glue has.
fn partitions(aws: &Aws, table: &str) -> Vec<(Vec<String>, String)> {
    let asked = json!({"DatabaseName": DATABASE, "TableName": table});
    let answer = aws.ask("glue", "AWSGlue.GetPartitions", &asked);
    let of = |entry: &Value| {
        let values = serde_json::from_value(entry["Values"].clone()).unwrap();
        (values, entry["StorageDescriptor"]["Location"].as_str().unwrap().to_owned())
    };
    answer["Partitions"].as_array().unwrap().iter().map(of).collect()
}

struct World {
    aws: Aws,
    lake: Lake,
    /// Beside what the lake itself needs.
    settings: Vec<(&'static str, String)>,
    arn: String,
    machine: String,
    sent: usize,
    /// Where the next records begin.
    iterator: String,
    invoked: Receiver<Value>,
}

impl World {
    fn new(aws: Aws, lake: Lake, more: Vec<(&'static str, String)>) -> Self {
        let kinesis =
            |call: &str, body: Value| aws.ask("kinesis", &format!("Kinesis_20131202.{call}"), &body);
        aws.ask("glue", "AWSGlue.CreateDatabase", &json!({"DatabaseInput": {"Name": DATABASE}}));
        kinesis("CreateStream", json!({"StreamName": STREAM, "ShardCount": 1}));
        let described = kinesis("DescribeStream", json!({"StreamName": STREAM}));
        let described = &described["StreamDescription"];
        let arn = described["StreamARN"].as_str().unwrap().to_owned();
        let shard = &described["Shards"][0]["ShardId"];
        let from = json!({"StreamName": STREAM, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let iterator = kinesis("GetShardIterator", from)["ShardIterator"].as_str().unwrap().to_owned();
        let command = json!({"Name": "glueetl", "ScriptLocation": "s3://bucket/x.py"});
        let job = json!({"Name": "report", "Role": ROLE, "Command": command});
        aws.ask("glue", "AWSGlue.CreateJob", &job);
        let machine = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}).to_string();
        let machine = json!({"name": "m", "definition": machine, "roleArn": ROLE});
        let machine = aws.ask("states", "AWSStepFunctions.CreateStateMachine", &machine);
        let machine = machine["stateMachineArn"].as_str().unwrap().to_owned();
        let (address, invoked) = lambda();
        let mut settings = aws.environment();
        settings.push(("AWS_ENDPOINT_URL_KINESIS", aws.endpoint()));
        settings.push(("AWS_ENDPOINT_URL_LAMBDA", address));
        settings.push(("WEIR_CATALOG", format!("glue://{DATABASE}")));
        settings.extend(more);
        let world = Self { aws, lake, settings, arn, machine, sent: 0, iterator, invoked };
        world.apply();
        world
    }

    /// The tables of the checkout; `clickstream` starts one action of each kind.
    fn apply(&self) {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(place::checkout().join("schemas")).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "json") {
                std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
            }
        }
        let file = folder.path().join("clickstream.json");
        let mut definition: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let actions = format!("job:report,state-machine:{},event,aggregate:clickstream_pages", self.machine);
        definition["Parameters"]["weir.on_close"] = actions.into();
        std::fs::write(&file, definition.to_string()).unwrap();
        let mut apply = self.lake.weir(["tables", "apply"]);
        apply.envs(self.settings.clone()).env("WEIR_SCHEMAS", folder.path());
        process::run(&mut apply);
    }

    fn function(&self, program: &std::path::Path, more: &[(&'static str, &str)]) -> Function {
        let own = [("WEIR_LAKE", self.lake.url())];
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let settings = own.into_iter().chain(self.settings.clone()).chain(more);
        let name = program.file_stem().unwrap().to_str().unwrap();
        Function::start(program, settings, &self.lake.path().join(format!("{name}.log"))).unwrap()
    }

    fn close(&self) -> Function {
        let settings = [
            ("WEIR_STREAMS", self.arn.as_str()),
            ("WEIR_CLOSE_MARGIN", "0s"),
            ("WEIR_AGGREGATE_FUNCTION", "aggregate"),
            ("AWS_LAMBDA_FUNCTION_NAME", "close"),
        ];
        self.function(&binaries::close(), &settings)
    }

    /// Put clicks of these hours into the stream, and hand the function what the stream has then.
    fn ingest(&mut self, function: &mut Function, hours: impl Iterator<Item = usize>) {
        let mut records = Vec::new();
        for hour in hours {
            self.sent += 1;
            let click = json!({"event_id": self.sent.to_string(), "event_type": "click", "user_id": self.sent,
                "event_time": format!("2026-01-02T{hour:02}:04:05Z"), "page_url": "/p"});
            let data = base64_simd::STANDARD.encode_to_string(click.to_string());
            records.push(json!({"PartitionKey": "k", "Data": data}));
        }
        let kinesis =
            |call: &str, body: Value| self.aws.ask("kinesis", &format!("Kinesis_20131202.{call}"), &body);
        kinesis("PutRecords", json!({"StreamName": STREAM, "Records": records}));
        let got = kinesis("GetRecords", json!({"ShardIterator": self.iterator}));
        self.iterator = got["NextShardIterator"].as_str().unwrap().to_owned();
        let got = got["Records"].as_array().unwrap();
        assert_eq!(got.len(), records.len());
        let event = |record: &Value| {
            json!({
                "eventID": format!("shardId-000000000000:{}", record["SequenceNumber"].as_str().unwrap()),
                "eventSource": "aws:kinesis", "eventSourceARN": self.arn,
                "kinesis": {"sequenceNumber": record["SequenceNumber"], "partitionKey": "k", "data": record["Data"],
                    "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].as_f64().unwrap()},
            })
        };
        let answer = function.invoke(&json!({"Records": got.iter().map(event).collect::<Vec<_>>()}));
        assert_eq!(answer, json!({"batchItemFailures": []}), "{}", function.written());
    }

    /// Hours by the revision of their location in Glue.
    fn revisions(&self) -> BTreeMap<u32, BTreeSet<String>> {
        let mut found = BTreeMap::<u32, BTreeSet<String>>::new();
        for (values, location) in partitions(&self.aws, "clickstream") {
            let name = location.trim_end_matches('/').rsplit('/').next().unwrap();
            let revision = name.strip_prefix('r').and_then(|r| r.split('-').next()?.parse().ok());
            assert_eq!(revision.is_some(), location.contains("/clickstream/closed/"), "{location}");
            found.entry(revision.unwrap_or(0)).or_default().insert(values[1].clone());
        }
        found
    }

    fn rows(&self) -> i64 {
        let mut query = self.lake.weir(["query", "select count(*) as n from clickstream", "--json"]);
        let rows: Value = serde_json::from_str(&process::run(query.envs(self.settings.clone()))).unwrap();
        rows["n"].as_i64().unwrap()
    }

    /// Hour and revision of each run that was started of the job and of the state machine, sorted.
    fn started(&self) -> [Vec<(String, String)>; 2] {
        let of = |told: &Value, partition: &str, revision: &str| {
            let hour = told[partition].as_str().unwrap().rsplit_once("hour=").unwrap().1.to_owned();
            (hour, told[revision].to_string().trim_matches('"').to_owned())
        };
        let runs = self.aws.ask("glue", "AWSGlue.GetJobRuns", &json!({"JobName": "report"}));
        let runs = runs["JobRuns"].clone();
        let runs = runs.as_array().unwrap().iter();
        let mut runs: Vec<_> =
            runs.map(|run| of(&run["Arguments"], "--weir_partition", "--weir_revision")).collect();
        runs.sort();
        let machine = json!({"stateMachineArn": self.machine});
        let list = self.aws.ask("states", "AWSStepFunctions.ListExecutions", &machine);
        let names = list["executions"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap());
        let mut executions: Vec<_> = names
            .map(|name| name.rsplit_once("-r").map(|(id, r)| (id.to_owned(), r.to_owned())).unwrap())
            .collect();
        executions.sort();
        [runs, executions]
    }
}

fn hour(n: usize) -> String {
    format!("2026-01-02-{n:02}")
}

/// Everything is closed once, everything started once, and the function said so.
fn check_first(world: &World) -> BTreeMap<String, Value> {
    let hours: BTreeSet<String> = (0..HOURS).map(hour).collect();
    assert_eq!(world.revisions(), BTreeMap::from([(1, hours.clone())]));
    assert_eq!(world.rows(), world.sent as i64);
    let [runs, executions] = world.started();
    assert_eq!(runs, hours.iter().map(|hour| (hour.clone(), "1".to_owned())).collect::<Vec<_>>());
    assert_eq!(executions.len(), HOURS, "{executions:?}");
    // An event may come twice where a run was killed between asking and writing it down: by its id and
    // revision the function does it once.
    let invoked = world.invoked.try_iter().map(|event| {
        assert_eq!((&event["job"], &event["revision"]), (&json!("clickstream_pages"), &json!(1)));
        (event["values"][1].as_str().unwrap().to_owned(), event)
    });
    let invoked: BTreeMap<String, Value> = invoked.collect();
    assert_eq!(invoked.keys().cloned().collect::<BTreeSet<_>>(), hours);
    invoked
}

/// Late rows of an hour: a revision of that hour alone, and the aggregate that the function makes of it.
fn check_late(world: &mut World, ingest: &mut Function, close: &mut Function) {
    let first = check_first(world);
    world.ingest(ingest, [3, 3].into_iter());
    let answer = close.invoke(&json!({"source": "aws.events"}));
    assert_eq!(answer, json!({"closed": 1, "open": 0, "failures": 0}), "{}", close.written());
    assert_eq!(world.revisions()[&2], BTreeSet::from([hour(3)]));
    assert_eq!(world.rows(), world.sent as i64);
    let [runs, executions] = world.started();
    assert_eq!((runs.len(), executions.len()), (HOURS + 1, HOURS + 1));
    let second = world.invoked.try_iter().last().unwrap();
    assert_eq!(
        (&second["revision"], &second["late_rows"], &second["rows"]),
        (&json!(2), &json!(2), &json!(4))
    );
    // The line has the engine and why.
    let written = close.written();
    let line: Value = serde_json::from_str(written.lines().last().unwrap()).unwrap();
    let actions = line["closed"][0]["actions"].as_array().unwrap();
    let run = actions.iter().find(|a| a["action"] == "aggregate:clickstream_pages").unwrap()["run"].clone();
    assert!(run.as_str().unwrap().starts_with("function aggregate, request r-7: "), "{run}");
    assert!(run.as_str().unwrap().ends_with("within the limit of 2147483648 for a function"), "{run}");

    // The function that was invoked, with what it was given.
    let jobs = place::checkout().join("jobs");
    let settings = [("WEIR_JOBS", jobs.to_str().unwrap()), ("AWS_LAMBDA_FUNCTION_NAME", "aggregate")];
    let mut aggregate = world.function(&binaries::aggregate(), &settings);
    for (event, switched) in [(&first[&hour(3)], true), (&second, true), (&first[&hour(3)], false)] {
        let done = aggregate.invoke(event);
        assert_eq!(done["switched"], json!(switched), "{done} {}", aggregate.written());
    }
    let [(_, shown)] = <[_; 1]>::try_from(partitions(&world.aws, "clickstream_pages")).unwrap();
    assert!(shown.contains("/clickstream_pages/closed/") && shown.contains("/r0002-"), "{shown}");
}

#[test]
fn the_deployed_function_closes_what_a_stream_brought_to_s3_and_starts_what_waits() {
    let (Some(python), Some(aws)) = (Python::get(), Aws::start(StandIn::Moto)) else { return };
    let s3 = Seaweed::start(&python);
    let lake = Lake::at(&format!("s3://{BUCKET}/lake"), s3.environment());
    // The stream is asked when it was made, by both functions.
    let mut world = World::new(aws, lake, s3.environment().into());
    let mut ingest = world.function(&binaries::ingest(), &[("WEIR_TABLE", "clickstream")]);
    world.ingest(&mut ingest, (0..HOURS).chain(0..HOURS));
    let mut close = world.close();
    let answer = close.invoke(&json!({"source": "aws.events", "detail-type": "Scheduled Event"}));
    assert_eq!(answer, json!({"closed": HOURS, "open": 0, "failures": 0}), "{}", close.written());
    // With nothing new it closes nothing.
    assert_eq!(close.invoke(&json!({})), json!({"closed": 0, "open": 0, "failures": 0}));
    check_late(&mut world, &mut ingest, &mut close);
}

#[test]
fn a_function_that_is_killed_while_it_closes_is_gone_on_with_and_nothing_is_started_twice() {
    let Some(aws) = Aws::start(StandIn::MiniStack) else { return };
    let identity = ("WEIR_STREAM_IDENTITY", "made once".to_owned());
    let mut world = World::new(aws, Lake::empty(), vec![identity]);
    let mut ingest = world.function(&binaries::ingest(), &[("WEIR_TABLE", "clickstream")]);
    world.ingest(&mut ingest, (0..HOURS).chain(0..HOURS));
    let mut in_the_middle = 0;
    for pause in [150, 300, 500, 800] {
        let mut close = world.close();
        close.hand_over(&json!({}));
        std::thread::sleep(Duration::from_millis(pause));
        close.kill();
        world.lake.let_closers_die();
        let closed = world.revisions().get(&1).map_or(0, BTreeSet::len);
        in_the_middle += usize::from(closed > 0 && closed < HOURS);
    }
    eprintln!("killed {in_the_middle} times with some of the hours closed");
    let mut close = world.close();
    let answer = close.invoke(&json!({}));
    assert_eq!((&answer["open"], &answer["failures"]), (&json!(0), &json!(0)), "{}", close.written());
    check_late(&mut world, &mut ingest, &mut close);
}
