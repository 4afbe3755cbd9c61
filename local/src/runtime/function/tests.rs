//! The host with small programs in the function's place: shell scripts that speak HTTP by curl
//! would prove little, so the test binary starts itself in the role.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::*;
use weir::clock::SystemClock;

/// The role the test binary plays when it is started as a function; a no-op otherwise.
#[test]
#[allow(clippy::disallowed_methods, reason = "the child's only settings")]
fn as_function() {
    let (Ok(api), Ok(role)) = (std::env::var("AWS_LAMBDA_RUNTIME_API"), std::env::var("TEST_ROLE")) else {
        return;
    };
    if role == "dies at init" {
        std::process::exit(3);
    }
    if role == "lambda_runtime" {
        let handler =
            lambda_runtime::service_fn(|event: lambda_runtime::LambdaEvent<serde_json::Value>| async move {
                if event.payload == "error" {
                    return Err(lambda_runtime::Error::from("no"));
                }
                let left = event.context.deadline().duration_since(std::time::SystemTime::now())?;
                assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(2), "{left:?}");
                Ok(serde_json::json!([
                    event.payload,
                    event.context.invoked_function_arn,
                    event.context.env_config.memory
                ]))
            });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(lambda_runtime::run(handler)).unwrap();
    }
    if role == "reports init" {
        let body = r#"{"errorType":"Setting","errorMessage":"WEIR_LAKE: not set"}"#;
        http(&api, "POST", "/2018-06-01/runtime/init/error", body);
        std::thread::sleep(Duration::from_secs(60));
    }
    loop {
        let (head, event) = http(&api, "GET", "/2018-06-01/runtime/invocation/next", "");
        let id = header(&head, "lambda-runtime-aws-request-id");
        assert!(header(&head, "lambda-runtime-deadline-ms").parse::<i64>().unwrap() > 0);
        assert!(header(&head, "lambda-runtime-invoked-function-arn").starts_with("arn:aws:lambda:"));
        assert!(header(&head, "lambda-runtime-trace-id").starts_with("Root=1-"));
        println!("saw {event}");
        let base = format!("/2018-06-01/runtime/invocation/{id}");
        if let Ok(script) = std::env::var("TEST_SCRIPT") {
            let (path, answer) = scripted(&script, &event);
            http(&api, "POST", &format!("{base}/{path}"), &answer);
            continue;
        }
        match event.as_str() {
            "\"crash\"" => std::process::abort(),
            "\"hang\"" => std::thread::sleep(Duration::from_secs(60)),
            "\"error\"" => {
                http(&api, "POST", &format!("{base}/error"), r#"{"errorType":"Bad","errorMessage":"no"}"#);
            }
            "\"pid\"" => {
                http(&api, "POST", &format!("{base}/response"), &std::process::id().to_string());
            }
            "\"env\"" => {
                let mut names: Vec<String> = std::env::vars().map(|(k, v)| format!("{k}={v}")).collect();
                names.sort();
                http(&api, "POST", &format!("{base}/response"), &serde_json::to_string(&names).unwrap());
            }
            "\"slow\"" => {
                std::thread::sleep(Duration::from_millis(500));
                http(&api, "POST", &format!("{base}/response"), "\"slept\"");
            }
            _ if role == "accepts" => {
                http(&api, "POST", &format!("{base}/response"), r#"{"batchItemFailures":[]}"#);
            }
            _ => {
                http(&api, "POST", &format!("{base}/response"), &event);
            }
        }
    }
}

/// What a script says to an event: where to post, and what. `answer TEXT` posts the text, `raise`
/// fails, `report` reports the records whose data says `should_fail`, `poison DATA` ends the process
/// if a record has that data.
fn scripted(script: &str, event: &str) -> (&'static str, String) {
    if let Some(answer) = script.strip_prefix("answer") {
        return ("response", answer.trim_start().to_owned());
    }
    let poison = script.strip_prefix("poison ").map(|data| base64_simd::STANDARD.encode_to_string(data));
    if let Some(poison) = poison {
        if event.contains(&format!("\"data\":\"{poison}\"")) {
            std::process::abort();
        }
        return ("response", r#"{"batchItemFailures":[]}"#.to_owned());
    }
    if script == "raise" {
        return ("error", r#"{"errorType":"Exception","errorMessage":"Failed!"}"#.to_owned());
    }
    assert_eq!(script, "report");
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    let should_fail = |record: &&serde_json::Value| {
        let data = base64_simd::STANDARD.decode_to_vec(record["kinesis"]["data"].as_str().unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&data).unwrap()["should_fail"] == true
    };
    let failed = event["Records"].as_array().unwrap().iter().filter(should_fail);
    let failures: Vec<_> =
        failed.map(|r| serde_json::json!({"itemIdentifier": r["kinesis"]["sequenceNumber"]})).collect();
    ("response", serde_json::json!({"batchItemFailures": failures}).to_string())
}

fn http(api: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(api).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn header(head: &str, name: &str) -> String {
    let found = head.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| k.eq_ignore_ascii_case(name));
    found.map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
}

fn config(role: &str, log: &std::path::Path) -> FunctionConfig {
    FunctionConfig {
        name: "ingest".into(),
        arn: "arn:aws:lambda:us-east-1:000000000000:function:ingest".into(),
        program: Program {
            path: std::env::current_exe().unwrap(),
            args: ["--exact", "runtime::function::tests::as_function", "--nocapture", "--test-threads=1"]
                .map(Into::into)
                .into(),
            env: vec![("TEST_ROLE".into(), role.into())],
        },
        memory_mb: 512,
        timeout: Duration::from_secs(2),
        init_timeout: Duration::from_secs(10),
        concurrency: 2,
        log_file: Some(log.join("function.log")),
        verbose: false,
        clock: Arc::new(SystemClock),
    }
}

async fn invoke(host: &FunctionHost, event: &str) -> InvokeOutcome {
    host.invoke(Bytes::from(serde_json::to_vec(event).unwrap())).await
}

fn answer(text: &str) -> InvokeOutcome {
    InvokeOutcome::Answer(Bytes::copy_from_slice(text.as_bytes()))
}

fn alive(pid: u32) -> bool {
    // SAFETY: signal 0 only asks.
    unsafe { libc::kill(pid as libc::pid_t, 0) == 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invocations_end_in_answers_and_errors_and_the_process_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let host = FunctionHost::new(config("serves", folder.path())).unwrap();
    host.warm().await.unwrap();
    assert_eq!(invoke(&host, "hello").await, answer("\"hello\""));
    assert_eq!(invoke(&host, "error").await, InvokeOutcome::FunctionError("Bad: no".into()));
    assert_eq!(invoke(&host, "again").await, answer("\"again\""));
    assert_eq!(host.processes_started(), 1);
    let InvokeOutcome::Answer(env) = invoke(&host, "env").await else { panic!("no answer") };
    let env: Vec<String> = serde_json::from_slice(&env).unwrap();
    for wanted in
        ["AWS_LAMBDA_FUNCTION_NAME=ingest", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512", "TEST_ROLE=serves"]
    {
        assert!(env.iter().any(|v| v == wanted), "{env:?}");
    }
    assert!(!env.iter().any(|v| v.starts_with("CARGO")), "the host's environment leaks: {env:?}");
    let log = std::fs::read_to_string(folder.path().join("function.log")).unwrap();
    assert!(log.contains("saw \"hello\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_runtime_client_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let host = FunctionHost::new(config("lambda_runtime", folder.path())).unwrap();
    host.warm().await.unwrap();
    let expected = r#"["hello","arn:aws:lambda:us-east-1:000000000000:function:ingest",512]"#;
    assert_eq!(invoke(&host, "hello").await, answer(expected));
    let outcome = invoke(&host, "error").await;
    assert!(matches!(&outcome, InvokeOutcome::FunctionError(e) if e.ends_with(": no")), "{outcome:?}");
    let large = "x".repeat(5_000_000);
    let InvokeOutcome::Answer(echo) = invoke(&host, &large).await else { panic!("no answer") };
    assert!(echo.len() > 5_000_000);
    assert_eq!(host.processes_started(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_or_a_time_out_fails_its_invocation_and_the_next_has_a_new_process() {
    let folder = tempfile::tempdir().unwrap();
    let host = FunctionHost::new(config("serves", folder.path())).unwrap();
    let crash = invoke(&host, "crash").await;
    assert_eq!(crash, InvokeOutcome::FunctionError("Runtime.ExitError: Runtime exited: signal 6".into()));
    let begun = Instant::now();
    let hang = invoke(&host, "hang").await;
    assert_eq!(hang, InvokeOutcome::FunctionError("Task timed out after 2.00 seconds".into()));
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert_eq!(invoke(&host, "hello").await, answer("\"hello\""));
    // Killed while idle: nothing fails.
    assert_eq!(host.kill_processes(), 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(invoke(&host, "hello").await, answer("\"hello\""));
    // Killed at work: the invocation fails.
    let (slow, ()) = tokio::join!(invoke(&host, "slow"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        host.kill_processes();
    });
    assert_eq!(slow, InvokeOutcome::FunctionError("Runtime.ExitError: Runtime exited: signal 9".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invocations_side_by_side_have_processes_of_their_own_up_to_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let host = FunctionHost::new(config("serves", folder.path())).unwrap();
    let outcomes = futures::future::join_all((0..4).map(|_| invoke(&host, "slow"))).await;
    assert_eq!(outcomes, vec![answer("\"slept\""); 4]);
    assert_eq!(host.processes_started(), 2);
    let ids = host.process_ids();
    assert_eq!(ids.len(), 2);
    drop(host);
    for _ in 0..200 {
        if !ids.iter().any(|id| alive(*id)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("processes outlive their host: {ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (role, part) in [("dies at init", "exit status 3"), ("reports init", "Setting: WEIR_LAKE: not set")] {
        let host = FunctionHost::new(config(role, folder.path())).unwrap();
        let error = host.warm().await.unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("function.log"), "{error}");
        let outcome = invoke(&host, "hello").await;
        let InvokeOutcome::FunctionError(error) = outcome else { panic!("{outcome:?}") };
        assert!(error.contains(part), "{error}");
    }
    let mut missing = config("serves", folder.path());
    missing.program.path = "/nowhere/bootstrap".into();
    let error = FunctionHost::new(missing).unwrap().warm().await.unwrap_err();
    assert!(format!("{error:#}").contains("could not start the function's program /nowhere/bootstrap"));
}
