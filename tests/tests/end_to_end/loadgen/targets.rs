//! Targets other than a stream: a table in DynamoDB, Firehose, the function itself.

use std::time::Duration;

use serde_json::Value;
use weir_tests::aws::{Aws, StandIn};
use weir_tests::binaries;
use weir_tests::lake::Lake;
use weir_tests::ministack::MiniStack;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;

use super::{WITHIN, answer, loadgen, refusing};

/// `weir up` on the stream of changes.
fn follow(lake: &Lake, table: &str, stream: &str, endpoint: &str) -> Running {
    let mut up = lake.weir(["up", "--table", table, "--window", "1s", "--dynamodb-stream", stream]);
    up.args(["--endpoint", endpoint, "--state"]).arg(lake.path().join("state"));
    let mut up = Running::start(&mut up, &lake.path().join("up.log"));
    up.wait_for_text("Ctrl-C stops", Duration::from_secs(60));
    up
}

fn rows_and_letters(result: &Value, code: i32, why: &str) -> (u64, u64) {
    let truth = &result["truth"];
    assert_eq!(code, 0, "{truth} {} {why}", result["failures"]);
    (truth["rows"].as_u64().unwrap(), truth["letters"].as_u64().unwrap())
}

#[test]
fn items_that_are_put_into_dynamodb_are_rows_of_their_changes_each_once() {
    let (Some(python), Some(stack)) = (Python::get(), MiniStack::start()) else { return };
    let lake = Lake::with_tables();
    let stream = stack.change_orders(["table"]).trim().to_owned();
    let up = follow(&lake, "orders_changes", &stream, &stack.endpoint());
    let (_proxy, endpoint) = refusing(&python, &stack.endpoint(), &lake, 7);
    let put = ["run", "--target", "dynamodb", "--stream", "orders", "--table", "orders_changes", "--json"];
    let mut run = loadgen(lake.path(), &put);
    run.args([
        "--endpoint",
        &endpoint,
        "--rate",
        "200/s",
        "--count",
        "600",
        "--violating",
        "5",
        "--settle",
        "20s",
    ]);
    let (result, code) = answer(run);
    let (rows, letters) = rows_and_letters(&result, code, &up.written());
    assert_eq!(rows + letters, 600);
    assert!(letters > 10, "{letters}");
    assert!(result["throttled"].as_u64().unwrap() > 80, "{}", result["throttled"]);
    assert!(result["retried"].as_u64() >= result["throttled"].as_u64());
    assert_eq!(result["config"]["id_column"], "customer_id");
    assert_eq!(
        lake.number("select count(distinct customer_id) from orders_changes where _op = 'insert'"),
        rows as i64
    );

    for (arguments, text) in [
        (&["--malformed", "1"], "always well formed"),
        (&["--duplicate", "1"], "second change"),
        (&["--late", "1"], "time of the change"),
        (&["--stream", "nothing"], "could not reach table nothing"),
        (&["--id-column", "status"], "without constraints"),
    ] {
        let mut run = loadgen(lake.path(), &["run", "--target", "dynamodb", "--table", "orders_changes"]);
        run.args(["--for", "1s", "--endpoint", &endpoint]);
        if arguments[0] != "--stream" {
            run.args(["--stream", "orders"]);
        }
        let output = process::output(run.args(arguments));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(text), "{arguments:?}: {said}");
    }
}

#[test]
fn clickstream_goes_through_a_table_of_its_own_and_late_events_are_filed_by_their_own_time() {
    let Some(aws) = Aws::start(StandIn::MiniStack) else { return };
    let lake = Lake::with_tables();
    let create = |name: &str, view: &str| {
        aws.cli([
            "dynamodb",
            "create-table",
            "--table-name",
            name,
            "--key-schema",
            "AttributeName=event_id,KeyType=HASH",
            "--attribute-definitions",
            "AttributeName=event_id,AttributeType=S",
            "--billing-mode",
            "PAY_PER_REQUEST",
            "--stream-specification",
            view,
        ])
    };
    let made = create("clickstream", "StreamEnabled=true,StreamViewType=NEW_IMAGE");
    create("keys_only", "StreamEnabled=true,StreamViewType=KEYS_ONLY");
    let stream = made["TableDescription"]["LatestStreamArn"].as_str().unwrap().to_owned();
    let up = follow(&lake, "clickstream", &stream, &aws.endpoint());
    let run = |more: &[&str]| {
        let run =
            ["run", "--target", "dynamodb", "--rate", "300/s", "--count", "600", "--late", "10", "--json"];
        loadgen(lake.path(), &[&run[..], &["--endpoint", &aws.endpoint()], more].concat())
    };
    let (result, code) = answer(run(&["--violating", "3", "--settle", "20s"]));
    let (rows, letters) = rows_and_letters(&result, code, &up.written());
    assert_eq!(rows + letters, 600, "{}", result["truth"]);
    assert!(lake.number("select count(distinct hour) from clickstream") > 2);

    // Lines of a file as items: numbers by their digits, what is nested as it was.
    let file = lake.path().join("lines.ndjson");
    let line = |n: usize| {
        format!(
            r#"{{"event_id":"{n}","event_type":"purchase","event_time":"2026-01-01T00:00:00.25Z","user_id":{},"page_url":"https://caf\u00e9.example/{n}","items":[{{"sku":"a","qty":2,"price":12345678.{:02}}},{{"sku":"b","qty":null,"price":null}}],"properties":{{"k":"{n}"}}}}"#,
            9_007_199_254_740_993 + n as i64,
            n % 100,
        )
    };
    std::fs::write(&file, (0..150).map(|n| line(n) + "\n").collect::<String>()).unwrap();
    let replay =
        ["run", "--target", "dynamodb", "--rate", "300/s", "--count", "300", "--settle", "20s", "--json"];
    let mut replay = loadgen(lake.path(), &[&replay[..], &["--endpoint", &aws.endpoint()]].concat());
    let (result, code) = answer({
        replay.arg("--replay").arg(&file);
        replay
    });
    assert_eq!(rows_and_letters(&result, code, &up.written()).0, 300, "{}", result["truth"]);
    let select =
        "select user_id, page_url, dt, items, properties from clickstream where user_id = 9007199254741142";
    let line = "{\"user_id\":9007199254741142,\"page_url\":\"https://caf\u{e9}.example/149\",\"dt\":\"2026-01-01\",\
                \"items\":[{\"sku\":\"a\",\"qty\":2,\"price\":12345678.49},{\"sku\":\"b\",\"qty\":null,\"price\":null}],\
                \"properties\":{\"k\":\"149\"}}\n";
    assert_eq!(process::run(&mut lake.weir(["query", select, "--json"])), line.repeat(2), "each line twice");

    let refused = process::output(&mut run(&["--stream", "keys_only"]));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("must bring new images") && said.contains("KEYS_ONLY"), "{said}");
    let refused = process::output(&mut run(&["--id-column", "session_id"]));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no column of the items' key (event_id) can carry"), "{said}");
}

#[test]
fn what_firehose_refuses_is_put_again_and_what_it_delivers_is_a_line_an_event() {
    let (Some(python), Some(aws)) = (Python::get(), Aws::start(StandIn::Moto)) else { return };
    let lake = Lake::with_tables();
    aws.cli(["s3api", "create-bucket", "--bucket", "delivered"]);
    let destination = "RoleARN=arn:aws:iam::123456789012:role/firehose,BucketARN=arn:aws:s3:::delivered";
    aws.cli([
        "firehose",
        "create-delivery-stream",
        "--delivery-stream-name",
        "clicks",
        "--extended-s3-destination-configuration",
        destination,
    ]);
    let (_proxy, endpoint) = refusing(&python, &aws.endpoint(), &lake, 7);
    let run = [
        "run", "--target", "firehose", "--stream", "clicks", "--rate", "2000/s", "--count", "2000", "--json",
    ];
    let (result, code) = answer(loadgen(lake.path(), &[&run[..], &["--endpoint", &endpoint]].concat()));
    assert_eq!((code, &result["acknowledged"]), (0, &2_000.into()), "{result}");
    assert!(result["throttled"].as_u64().unwrap() > 200, "{result}");
    let folder = lake.path().join("delivered");
    process::run(
        python
            .aws(&aws.endpoint())
            .args(["s3", "cp", "--quiet", "--recursive", "s3://delivered"])
            .arg(&folder),
    );
    let text: String = files(&folder).iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let ids = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event_id"].to_string());
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(
        (ids.len(), text.lines().count()),
        (2_000, 2_000),
        "refused records were put again, and only those"
    );
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_function_started_here_takes_batches_as_a_mapping_hands_them_over() {
    let lake = Lake::with_tables();
    let program = binaries::ingest();
    let run = |more: &[&str]| {
        let run =
            ["run", "--target", "invoke", "--json", "--settle", "5s", "--program", program.to_str().unwrap()];
        loadgen(lake.path(), &[&run[..], more].concat())
    };
    let bad = ["--malformed", "1", "--violating", "2", "--duplicate", "3", "--late", "5"];
    // The second run's numbers are above those of the first: nothing looks as if it were there already.
    for _ in 0..2 {
        let (result, code) =
            answer(run(&[&["--rate", "1500/s", "--count", "3000", "--linger", "300ms"][..], &bad].concat()));
        let (rows, letters) = rows_and_letters(&result, code, "");
        assert_eq!(rows + letters, result["acknowledged"].as_u64().unwrap());
        assert_eq!(result["truth"]["events"], 3_000);
        assert!(result["requests"].as_u64().unwrap() < 30, "{}", result["requests"]);
    }
    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains("no gap, no duplicate"), "{verified}");
    let chains =
        std::fs::read_dir(lake.path().join("_weir/commits")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_dir(chains).unwrap().count(), 2, "a shard for each worker");

    let empty = Lake::empty();
    let run = ["run", "--target", "invoke", "--for", "1s", "--program", program.to_str().unwrap()];
    let absent = process::output(&mut loadgen(empty.path(), &run));
    let said = String::from_utf8(absent.stderr).unwrap();
    assert!(absent.status.code() == Some(1) && said.contains("could not invoke the function"), "{said}");
}

#[test]
fn what_a_function_reports_as_not_committed_or_was_killed_over_is_handed_over_again_and_there_once() {
    let lake = Lake::with_tables();
    let (program, log) = (binaries::ingest(), lake.path().join("run.log"));
    let run = [
        "run",
        "--target",
        "invoke",
        "--rate",
        "300/s",
        "--count",
        "1800",
        "--linger",
        "200ms",
        "--patience",
        "30s",
    ];
    let mut run = loadgen(lake.path(), &run);
    run.args(["--workers", "1", "--settle", "10s", "--program"]).arg(&program);
    let mut running = Running::start(&mut run, &log);
    let (live, aside) = (lake.path().join("clickstream/live"), lake.path().join("aside"));
    assert!(process::wait_until(WITHIN, || live.is_dir()));
    // A file where the folder was: nothing can be written below it.
    std::fs::rename(&live, &aside).unwrap();
    std::fs::write(&live, "").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    std::fs::remove_file(&live).unwrap();
    std::fs::rename(&aside, &live).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let [function] = process::children(running.pid())[..] else { panic!("{}", running.written()) };
    process::kill(function);
    let code = running.wait(Duration::from_secs(60)).code();
    let written = running.written();
    assert_eq!(code, Some(0), "{written}");
    for text in
        ["× the function reported a record as not committed", "1 requests failed", "the function ended"]
    {
        assert!(written.contains(text), "{text}: {written}");
    }
    assert!(written.contains("truth          holds: 1800 events in 1800 rows"), "{written}");
}

#[test]
fn a_function_in_the_cloud_is_invoked_with_the_same_batches() {
    let Some(stack) = MiniStack::start() else { return };
    let lake = Lake::with_tables();
    let settings = serde_json::json!({"WEIR_LAKE": lake.url(), "WEIR_TABLE": "clickstream", "WEIR_STREAM_IDENTITY": "x"});
    stack.change_orders(["function", "-", binaries::ingest().to_str().unwrap(), &settings.to_string()]);
    let mut run = loadgen(
        lake.path(),
        &["run", "--target", "invoke", "--function", "ingest", "--json", "--settle", "5s"],
    );
    run.args([
        "--endpoint",
        &stack.endpoint(),
        "--rate",
        "500/s",
        "--count",
        "1000",
        "--violating",
        "2",
        "--linger",
        "500ms",
    ]);
    let (result, code) = answer(run);
    let (rows, letters) = rows_and_letters(&result, code, &stack.written());
    assert_eq!(rows + letters, 1_000);
    let mut absent =
        loadgen(lake.path(), &["run", "--target", "invoke", "--function", "nobody", "--for", "1s"]);
    let output = process::output(absent.args(["--endpoint", &stack.endpoint()]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("ResourceNotFound"), "{said}");
}
