//! The function `aggregate` as it is deployed, against a Runtime API of a few lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use weir_tests::binaries;
use weir_tests::python::Python;

use crate::World;
use crate::closing::close;

/// The function answers `events` in order; what it posts, and the lines it prints.
fn invoke(world: &World, events: &[Value]) -> Vec<(String, Value, Value)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut function = Command::new(binaries::aggregate())
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "aggregate")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("WEIR_LAKE", world.lake.url())
        .env("WEIR_JOBS", world.jobs())
        .env("WEIR_SCRATCH", world.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(function.stdout.take().unwrap());
    let mut answers = Vec::new();
    for event in events {
        // A connection for each request, so that none waits for one that the client keeps open.
        let (mut stream, _) = listener.accept().unwrap();
        receive(&stream);
        let event = event.to_string();
        let next = format!(
            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r-1\r\nLambda-Runtime-Deadline-Ms: 4000000000000\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{event}",
            event.len()
        );
        stream.write_all(next.as_bytes()).unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        let (path, body) = receive(&stream);
        let accepted = b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(accepted).unwrap();
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        answers.push((path, body, serde_json::from_str(&line).unwrap()));
    }
    function.kill().unwrap();
    function.wait().unwrap();
    answers
}

/// Path and body of a request.
fn receive(stream: &TcpStream) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the request ends early: {head}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    (path, serde_json::from_slice(&body).unwrap_or_default())
}

#[test]
fn the_function_runs_the_job_of_an_action_once_and_says_what_it_did() {
    let Some(python) = Python::get() else { return };
    let world = World::new();
    world.load(&python, "access_log", 1, 2_000);
    let closed = close(&world, "access_log", 1);
    let (partition, location) = &closed[0];
    let event = |job: &str, table: &str| {
        json!({
            "job": job, "id": "a-1", "table": table, "partition": partition,
            "values": [partition.split_once('=').unwrap().1], "location": location, "revision": 1, "rows": 1,
            "late_rows": 0, "given_up": 0, "bytes": 1, "repeated": false,
        })
    };
    let good = event("access_log_traffic", "access_log");
    let answers = invoke(
        &world,
        &[good.clone(), good, event("nothing", "access_log"), event("access_log_traffic", "x")],
    );
    for (at, switched) in [(0, true), (1, false)] {
        let (path, body, line) = &answers[at];
        assert!(path.ends_with("/response"), "{path} {body}");
        assert_eq!((&body["switched"], &body["target"]), (&json!(switched), &json!("access_log_traffic")));
        assert_eq!((&line["outcome"], &line["action"]), (body, &json!("a-1")));
    }
    for (at, problem) in [(2, "could not read"), (3, "job access_log_traffic reads access_log")] {
        let (path, body, line) = &answers[at];
        assert!(path.ends_with("/error"), "{path} {body}");
        assert!(body["errorMessage"].as_str().unwrap().contains(problem), "{body}");
        assert_eq!(line["error"], body["errorMessage"]);
    }
    let day = partition.split_once('=').unwrap().1;
    let requests = world.lake.number(&format!("select count(*) as n from access_log where dt = '{day}'"));
    assert_eq!(world.lake.number("select sum(requests) as n from access_log_traffic"), requests);
}
