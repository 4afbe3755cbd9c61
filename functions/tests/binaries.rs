//! The binaries as they are deployed, against a Runtime API of a few lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use weir::catalog::{FolderCatalog, apply, plan_apply};

/// A request and its body.
fn receive(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a request"), 0, "the request ends early: {head}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().expect("a length"))
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("a body");
    (head, String::from_utf8(body).expect("text"))
}

fn start(api: &str, settings: &[(&str, &str)]) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_ingest"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api)
        .env("AWS_LAMBDA_FUNCTION_NAME", "ingest")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_functions_start_without_the_library_of_mathematics() {
    for program in [env!("CARGO_BIN_EXE_ingest"), env!("CARGO_BIN_EXE_close")] {
        let bytes = std::fs::read(program).expect("the program");
        let named = bytes.windows(9).filter(|name| name == b"libm.so.6").count();
        assert_eq!(named, 0, "{program} wants another function of it: see functions/src/mathematics.rs");
    }
}

#[test]
fn a_bad_setting_is_one_line_a_report_and_exit_code_1() {
    // Hosts write the address with and without a scheme and a path.
    for (scheme, base) in [("", ""), ("http://", "/.rt")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let function = start(&format!("{scheme}{address}{base}"), &[("WEIR_TABLE", "clickstream")]);
        let (mut stream, _) = listener.accept().expect("a report");
        let (head, body) = receive(&stream);
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").expect("an answer");
        drop(stream);
        let message = "WEIR_LAKE: is not set; example: WEIR_LAKE=s3://my-bucket/lake";
        assert!(
            head.starts_with(&format!("POST {base}/2018-06-01/runtime/init/error HTTP/1.1\r\n")),
            "{head}"
        );
        let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (&report["errorType"], &report["errorMessage"]),
            (&"Weir.Setting".into(), &message.into())
        );
        let output = function.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output), format!("error: {message}\n"));
    }
}

#[test]
fn without_a_runtime_the_binary_says_so_instead_of_panicking() {
    let output = start("", &[]).wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with("error: AWS_LAMBDA_RUNTIME_API: is set by Lambda"),
        "{}",
        stderr(&output)
    );
    assert_eq!(stderr(&output).lines().count(), 1);
}

/// Answer the function's poll with an event; what it posts then.
fn invoke(stream: &mut TcpStream, event: &str) -> (String, serde_json::Value) {
    let (head, _) = receive(stream);
    assert!(head.starts_with("GET /2018-06-01/runtime/invocation/next "), "{head}");
    let length = event.len();
    let next = format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r-1\r\nLambda-Runtime-Deadline-Ms: 4000000000000\r\n\
         Lambda-Runtime-Trace-Id: Root=1-2-3\r\nContent-Length: {length}\r\n\r\n{event}"
    );
    stream.write_all(next.as_bytes()).expect("an event is sent");
    let (head, body) = receive(stream);
    stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").expect("an answer");
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    (path, serde_json::from_str(&body).expect("JSON"))
}

#[test]
fn events_are_polled_answered_and_told_in_one_line_each() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let lake = lake_with_clickstream(folder.path());
    let mut function = start(&address, &[("WEIR_LAKE", lake.url()), ("WEIR_TABLE", "clickstream")]);
    let (mut stream, _) = listener.accept().expect("a poll");
    let good = record(1, r#"{"event_id":"a","event_type":"click","event_time":"2025-01-02T03:04:05Z"}"#);
    let bad = record(2, r#"{"event_id":"b","event_type":"click"}"#);
    let event = serde_json::json!({"Records": [good, bad]}).to_string();
    let done = || serde_json::json!({"batchItemFailures": []});
    let cases = [
        (event.as_str(), "response", done()),
        (event.as_str(), "response", done()),
        (r#"{"Records":[]}"#, "response", done()),
        (
            r#"{"awslogs":1}"#,
            "error",
            serde_json::json!({
                "errorType": "Weir.Event",
                "errorMessage": "unreadable event: no Records but awslogs; this function takes events of a \
                                 stream's event source mapping",
            }),
        ),
        (
            "not json",
            "error",
            serde_json::json!({
                "errorType": "Weir.Event",
                "errorMessage": "unreadable event: expected an object at byte 0",
            }),
        ),
    ];
    let mut log = BufReader::new(function.stdout.take().expect("a pipe"));
    for (event, kind, expected) in cases {
        let (path, body) = invoke(&mut stream, event);
        assert_eq!(path, format!("/2018-06-01/runtime/invocation/r-1/{kind}"));
        assert_eq!(body, expected);
        let mut line = String::new();
        log.read_line(&mut line).expect("a line");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["request_id"], &line["trace_id"]), (&"r-1".into(), &"Root=1-2-3".into()));
        assert_eq!(line["error"], expected["errorMessage"]);
    }
    function.kill().expect("it is stopped");
    function.wait().expect("it ends");
    let files = block_on(weir::commit::reader::live_files(&lake, None)).expect("commits");
    let mut rows: Vec<_> = files.iter().map(|f| (f.file.table.as_str(), f.file.rows)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [("clickstream", 1), ("quarantine", 1)], "delivered twice, committed once");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A lake whose catalog has the table.
fn lake_with_clickstream(folder: &std::path::Path) -> weir::commit::LakeStore {
    let url = format!("file://{}", folder.display());
    let lake = weir::commit::LakeStore::open(&url, &[]).expect("a lake");
    let catalog = FolderCatalog::new(lake.object_store(), lake.path("").expect("a path"), url.as_str());
    let definition = include_str!("../../schemas/clickstream.json");
    let definition = weir::schema::TableInput::from_json(definition).expect("a definition");
    block_on(async {
        let changes = plan_apply(&[definition], &catalog, &url).await.expect("a plan");
        apply(&changes, &catalog).await.expect("a table");
    });
    lake
}

/// A record as the event source mapping hands it over.
fn record(number: u64, data: &str) -> serde_json::Value {
    let data = base64_simd::STANDARD.encode_to_string(data);
    serde_json::json!({
        "eventID": format!("shardId-000000000000:{number}"),
        "eventSource": "aws:kinesis",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/clicks",
        "kinesis": {"sequenceNumber": number.to_string(), "data": data, "partitionKey": "k",
            "approximateArrivalTimestamp": 1_767_322_000.5},
    })
}
