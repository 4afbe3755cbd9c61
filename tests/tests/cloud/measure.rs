//! `loadgen cold` and `loadgen sweep` of a function in the cloud: what is measured is what the service
//! reports, and the function is put back whatever happens. Against Lambda's API by its documentation,
//! and against MiniStack.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use weir_tests::aws::{Aws, StandIn};
use weir_tests::lake::Lake;
use weir_tests::lambda_api::{Configuration, Invocation, LambdaApi, Outcome};
use weir_tests::process::{self, Running};
use weir_tests::runtime_api::Function;
use weir_tests::{binaries, place};

const DONE: &str = r#"{"batchItemFailures":[]}"#;

/// The log of an invocation, in the words of the service.
fn log(duration: &str, billed: u32, memory_mb: i64, start: &str) -> String {
    format!(
        "START RequestId: 8f5 Version: $LATEST\n{{\"level\":\"info\"}}\nEND RequestId: 8f5\n\
         REPORT RequestId: 8f5\tDuration: {duration} ms\tBilled Duration: {billed} ms\tMemory Size: {memory_mb} MB\t\
         Max Memory Used: 61 MB\t{start}\n"
    )
}

/// What a function does.
type Run = fn(&Invocation) -> Outcome;

/// A function that takes 20.5 ms to start, then 10.25 ms for its first event and 4 ms for each other.
fn usual(invocation: &Invocation) -> Outcome {
    let memory_mb = invocation.configuration.memory_mb;
    let log = match invocation.cold {
        true => log("10.25", 31, memory_mb, "Init Duration: 20.50 ms\t"),
        false => log("4.00", 4, memory_mb, ""),
    };
    Outcome { payload: DONE.to_owned(), log, error: None }
}

/// With a lake and settings of its own, which nothing may touch for good.
fn function(run: impl FnMut(&Invocation) -> Outcome + Send + 'static) -> LambdaApi {
    let environment = [("WEIR_LAKE", "s3://real/lake"), ("WEIR_TABLES", "a,b"), ("OTHER", "stays")];
    LambdaApi::start(512, &environment, run)
}

fn loadgen(api: &LambdaApi, arguments: &[&str]) -> Command {
    let mut loadgen = Command::new(binaries::loadgen());
    loadgen
        .args(arguments)
        .args(["--function", "measured"])
        .current_dir(place::checkout())
        .env("AWS_ENDPOINT_URL_LAMBDA", api.endpoint())
        .env("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test");
    loadgen
}

fn sweep(api: &LambdaApi, scratch: &Lake, arguments: &[&str]) -> Command {
    let (url, schemas) = (scratch.url(), place::checkout().join("schemas"));
    let schemas = schemas.to_str().unwrap();
    let given = ["sweep", "--batches", "2", "--schemas", schemas, "--scratch-lake", &url];
    loadgen(api, &[&given[..], arguments].concat())
}

fn told(output: &Output) -> (bool, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

fn updates(api: &LambdaApi) -> Vec<String> {
    let memory = |call: &String| Some(call.strip_prefix("UpdateFunctionConfiguration ")?.to_owned());
    api.calls().iter().filter_map(memory).collect()
}

#[test]
fn cold_starts_are_the_figures_that_the_service_reports() {
    let restored = |invocation: &Invocation| match invocation.cold {
        true => Outcome {
            log: log("159.87", 278, 512, "Restore Duration: 562.43 ms\tBilled Restore Duration: 118 ms\t"),
            ..usual(invocation)
        },
        false => usual(invocation),
    };
    let as_json = |invocation: &Invocation| {
        let init = if invocation.cold { r#","initDurationMs":20.5"# } else { "" };
        let (duration, billed) = if invocation.cold { ("10.25", 31) } else { ("4.0", 4) };
        let log = format!(
            "{{\"time\":\"2026-11-20T08:10:30.208Z\",\"type\":\"platform.report\",\"record\":{{\"requestId\":\"9\",\"metrics\":{{\
             \"durationMs\":{duration},\"billedDurationMs\":{billed},\"memorySizeMB\":512,\"maxMemoryUsedMB\":61{init}}},\
             \"status\":\"success\"}}}}\n"
        );
        Outcome { log, ..usual(invocation) }
    };
    let kinds: [(&str, Run, [Value; 4]); 3] = [
        ("text", usual, [20.5.into(), Value::Null, 31.0.into(), 20.0.into()]),
        ("snapshot", restored, [0.0.into(), 562.43.into(), 278.0.into(), 118.0.into()]),
        ("JSON", as_json, [20.5.into(), Value::Null, 31.0.into(), 20.0.into()]),
    ];
    for (kind, run, expected) in kinds {
        let api = function(run);
        let before = api.configuration();
        let out = process::run(&mut loadgen(&api, &["cold", "--runs", "3", "--batches", "3", "--json"]));
        let result: Value = serde_json::from_str(&out).unwrap();
        let starts = result["functions"][0]["starts"].as_array().unwrap();
        assert_eq!(starts.len(), 3, "{kind}");
        for start in starts {
            let found =
                ["init_ms", "restore_ms", "billed_ms", "billed_start_ms"].map(|name| start[name].clone());
            assert_eq!(found, expected, "{kind}");
            assert_eq!(start["batches_ms"].as_array().unwrap().len(), 3, "{kind}");
            assert_eq!(start["batches_ms"][2], 4.0, "{kind}");
            assert_eq!(start["resident_bytes"][0], 61 << 20, "{kind}");
        }
        assert_eq!(api.configuration(), before, "{kind}");
        // Three starts and one that puts back.
        assert_eq!(updates(&api), ["512"; 4], "{kind}");
    }
}

#[test]
fn throttles_conflicts_and_changes_by_others_are_waited_out() {
    let api = function(usual);
    let before = api.configuration();
    api.faults(|faults| {
        faults.throttles =
            [("GetFunctionConfiguration", 2), ("UpdateFunctionConfiguration", 2), ("Invoke", 2)].into();
        (faults.conflicts, faults.changed_by_others, faults.warm) = (1, 1, 2);
        faults.update_takes = Duration::from_millis(300);
    });
    let out = process::run(&mut loadgen(&api, &["cold", "--runs", "2", "--json"]));
    let result: Value = serde_json::from_str(&out).unwrap();
    let starts = result["functions"][0]["starts"].as_array().unwrap();
    assert!(starts.len() == 2 && starts.iter().all(|start| start["init_ms"] == 20.5), "{out}");
    // Two starts met an environment that was there and were made again.
    assert_eq!(updates(&api).len(), 5);
    let mut after = api.configuration();
    assert!(after.environment.remove("ADDED_BY_OTHERS").is_some());
    assert_eq!(after, before);
}

#[test]
fn a_sweep_changes_memory_and_lake_and_puts_both_back() {
    let met = Arc::new(Mutex::new(Vec::<Configuration>::new()));
    let seen = Arc::clone(&met);
    let api = function(move |invocation| {
        seen.lock().unwrap().push(invocation.configuration.clone());
        match invocation.configuration.memory_mb {
            128 => Outcome {
                payload: r#"{"errorType":"Runtime.OutOfMemory","errorMessage":"signal: killed"}"#.to_owned(),
                error: Some("Unhandled"),
                log: String::new(),
            },
            256 => Outcome {
                payload: r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#.into(),
                ..usual(invocation)
            },
            _ => usual(invocation),
        }
    });
    api.faults(|faults| faults.most_memory_mb = Some(3008));
    let (before, scratch) = (api.configuration(), Lake::empty());
    let memory = "128,256,1024,1769,10240";
    let out = process::run(&mut sweep(&api, &scratch, &["--records", "20", "--memory", memory, "--json"]));
    let result: Value = serde_json::from_str(&out).unwrap();
    let failed: Vec<&str> = result["sizes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|size| size["failed"].as_str().unwrap_or(""))
        .collect();
    for (why, part) in failed.iter().zip(["OutOfMemory", "answered as failed", "", "", "MemorySize"]) {
        assert!(why.contains(part) && why.is_empty() == part.is_empty(), "{failed:?}");
    }
    let size = &result["sizes"][2];
    assert_eq!((&size["first_poll_ms"], &size["first_batch_ms"]), (&20.5.into(), &10.25.into()));
    // 4 ms at 1 GB on Graviton and a request, for 20 events.
    let usd = (4e-3 * 0.0000133334 + 0.2e-6) / 20.0 * 1e6;
    assert!((size["usd_per_million_events"].as_f64().unwrap() - usd).abs() < 1e-9, "{size}");
    assert_eq!(api.configuration(), before);
    assert_eq!(updates(&api), ["128", "256", "1024", "1769", "512"]);
    for configuration in met.lock().unwrap().iter() {
        let environment = &configuration.environment;
        assert_eq!(environment["WEIR_LAKE"], scratch.url());
        assert_eq!(environment["OTHER"], "stays");
        assert!(!environment.contains_key("WEIR_TABLES") && environment["WEIR_TABLE"] == "clickstream");
    }
}

#[test]
fn a_function_is_put_back_after_an_error_and_after_each_way_of_stopping() {
    // Fails in a way that ends the measurement.
    let silent = |invocation: &Invocation| Outcome { log: "START\nEND\n".into(), ..usual(invocation) };
    let (api, scratch) = (function(silent), Lake::empty());
    let before = api.configuration();
    let (done, text) =
        told(&process::output(&mut sweep(&api, &scratch, &["--records", "20", "--memory", "1024,2048"])));
    assert!(!done && text.contains("no REPORT line") && text.contains("as it was before"), "{text}");
    assert_eq!(api.configuration(), before);
    assert_eq!(updates(&api), ["1024", "512"]);

    // While an invocation takes long, and while a change is under way.
    let slow = |invocation: &Invocation| {
        std::thread::sleep(Duration::from_millis(if invocation.cold { 10 } else { 1_500 }));
        usual(invocation)
    };
    for (signal, update_takes) in
        [(process::interrupt as fn(u32), 0), (process::terminate, 0), (process::interrupt, 1_500)]
    {
        let api = function(slow);
        api.faults(|faults| faults.update_takes = Duration::from_millis(update_takes));
        let before = api.configuration();
        let log = scratch.path().join(format!("log-{}", api.endpoint().len() + update_takes as usize));
        let mut running =
            Running::start(&mut sweep(&api, &scratch, &["--records", "20", "--memory", "1024,2048"]), &log);
        let changed = process::wait_until(Duration::from_secs(20), || api.configuration() != before);
        assert!(changed, "{}", running.written());
        std::thread::sleep(Duration::from_millis(300));
        signal(running.pid());
        // Impatience does no harm.
        signal(running.pid());
        let status = running.wait(Duration::from_secs(20));
        let text = running.written();
        assert!(!status.success() && text.contains("stopped") && text.contains("as it was before"), "{text}");
        assert_eq!(api.configuration(), before, "{text}");
    }
}

#[test]
fn what_a_killed_measurement_left_is_put_back_by_the_next_and_named_where_it_cannot() {
    let (api, scratch) = (function(usual), Lake::empty());
    let before = api.configuration();
    api.faults(|faults| faults.update_takes = Duration::from_millis(500));
    let log = scratch.path().join("log");
    let running =
        Running::start(&mut sweep(&api, &scratch, &["--records", "20", "--memory", "1024,2048"]), &log);
    assert!(process::wait_until(Duration::from_secs(20), || api.configuration() != before));
    running.kill();
    assert_ne!(api.configuration(), before);
    let (done, text) = told(&process::output(&mut loadgen(&api, &["cold", "--runs", "1"])));
    assert!(done && text.contains("was left changed") && text.contains("512 MB"), "{text}");
    assert_eq!(api.configuration(), before);

    // Nobody answers any more: the way back is told, setting by setting.
    let gone = scratch.path().join("gone");
    let mut command =
        sweep(&api, &scratch, &["--records", "20", "--memory", "1024,2048", "--update-patience", "1s"]);
    let mut running = Running::start(&mut command, &gone);
    assert!(process::wait_until(Duration::from_secs(20), || api.configuration() != before));
    api.faults(|faults| faults.gone = true);
    assert!(!running.wait(Duration::from_secs(20)).success());
    let text = running.written();
    for part in [
        "left changed",
        "memory to 512 MB",
        "WEIR_LAKE=s3://real/lake",
        "WEIR_TABLES=a,b",
        "remove WEIR_LOADGEN",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_function_that_would_lose_or_double_records_is_not_touched() {
    let (api, scratch) = (function(usual), Lake::empty());
    let before = api.configuration();
    let refused = |command: &mut Command, part: &str| {
        let (done, text) = told(&process::output(command));
        assert!(!done && text.contains(part), "{part}: {text}");
        assert_eq!(api.configuration(), before);
        assert!(updates(&api).is_empty(), "{text}");
    };
    api.faults(|faults| faults.mapped = vec!["arn:aws:kinesis:us-east-1:1:stream/clicks".into()]);
    refused(&mut sweep(&api, &scratch, &[]), "measure a copy");
    api.faults(|faults| faults.mapped.clear());
    let overlapping = LambdaApi::start(512, &[("WEIR_LAKE", &scratch.url())], usual);
    let (done, text) = told(&process::output(&mut sweep(&overlapping, &scratch, &[])));
    assert!(!done && text.contains("overlap") && updates(&overlapping).is_empty(), "{text}");
    refused(&mut loadgen(&api, &["sweep"]), "--scratch-lake");
    let named = |name: &str, endpoint: &str| {
        let mut command = Command::new(binaries::loadgen());
        command.args(["cold", "--function", name, "--endpoint", endpoint]);
        command.env_remove("AWS_ACCESS_KEY_ID");
        command
    };
    refused(&mut named("measured:live", &api.endpoint()), "without it");
    refused(&mut named("another", &api.endpoint()), "--function and its region");
    refused(&mut loadgen(&api, &["cold", "--payload", "/nowhere"]), "--payload");
    refused(&mut named("measured", "http://127.0.0.1:1"), "could not read function measured");
}

/// The real function behind the service's API: what a sweep writes is in the scratch lake, each row
/// once, and nothing in the function's own.
#[test]
fn the_real_function_writes_a_sweep_into_the_scratch_lake_alone() {
    let (own, scratch) = (Lake::with_tables(), Lake::empty());
    let folder = tempfile::tempdir().unwrap();
    let mut environment: Option<(Configuration, Function)> = None;
    let api = LambdaApi::start(512, &[("WEIR_LAKE", &own.url()), ("WEIR_TABLE", "access_log")], {
        let folder = folder.path().to_path_buf();
        move |invocation| {
            let begun = std::time::Instant::now();
            if invocation.cold {
                let settings =
                    invocation.configuration.environment.iter().map(|(k, v)| (k.as_str(), v.clone()));
                let started = Function::start(&binaries::ingest(), settings, &folder.join("log")).unwrap();
                environment = Some((invocation.configuration.clone(), started));
            }
            let (_, function) = environment.as_mut().unwrap();
            let answer = function.invoke(&serde_json::from_slice(&invocation.payload).unwrap());
            let (ms, memory_mb) = (begun.elapsed().as_secs_f64() * 1e3, invocation.configuration.memory_mb);
            let start = if invocation.cold { "Init Duration: 1.00 ms\t" } else { "" };
            let log = log(&format!("{ms:.2}"), ms.ceil() as u32 + 1, memory_mb, start);
            Outcome { payload: answer.to_string(), log, error: None }
        }
    });
    let before = api.configuration();
    for _ in 0..2 {
        process::run(&mut sweep(&api, &scratch, &["--records", "500", "--memory", "512,1769"]));
    }
    assert_eq!(api.configuration(), before);
    // Two sweeps of two sizes with three batches each.
    assert_eq!(scratch.number("select count(*) from clickstream"), 2 * 2 * 3 * 500);
    assert_eq!(
        scratch.number("select count(*) from (select distinct _shard, _sequence from clickstream)"),
        2 * 2 * 3 * 500
    );
    assert!(own.lying_files("access_log").is_empty() && own.lying_files("clickstream").is_empty());
}

/// MiniStack runs the real function, whose settings change and come back there too. Its log tail is
/// the function's own output, without the service's report, which ends the measurement.
#[test]
fn the_function_in_an_api_that_others_wrote_is_changed_invoked_and_put_back() {
    let Some(aws) = Aws::shared(StandIn::MiniStack) else { return };
    let (own, scratch) = (Lake::with_tables(), Lake::empty());
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(binaries::ingest(), folder.path().join("bootstrap")).unwrap();
    let mut zip = Command::new("python3");
    process::run(zip.args(["-m", "zipfile", "-c", "code.zip", "bootstrap"]).current_dir(folder.path()));
    let code = format!("fileb://{}/code.zip", folder.path().display());
    let environment = format!("Variables={{WEIR_LAKE={},WEIR_TABLE=access_log}}", own.url());
    aws.cli([
        "lambda",
        "create-function",
        "--function-name",
        "measured",
        "--runtime",
        "provided.al2023",
        "--handler",
        "bootstrap",
        "--role",
        "arn:aws:iam::000000000000:role/r",
        "--memory-size",
        "512",
        "--timeout",
        "30",
        "--zip-file",
        &code,
        "--environment",
        &environment,
    ]);
    let settings = || {
        let found = aws.cli(["lambda", "get-function-configuration", "--function-name", "measured"]);
        (found["MemorySize"].clone(), found["Environment"]["Variables"].clone())
    };
    let before = settings();
    assert_eq!(before.0, 512);
    let (url, schemas) = (scratch.url(), place::checkout().join("schemas"));
    let mut sweep = Command::new(binaries::loadgen());
    sweep.args(["sweep", "--function", "measured", "--endpoint", &aws.endpoint(), "--records", "20"]).args([
        "--memory",
        "1024",
        "--scratch-lake",
        &url,
        "--schemas",
        schemas.to_str().unwrap(),
    ]);
    let (done, text) = told(&process::output(&mut sweep));
    assert!(!done && text.contains("no REPORT line") && text.contains("as it was before"), "{text}");
    assert_eq!(settings(), before);
    assert_eq!(scratch.number("select count(*) from clickstream"), 20);
    assert!(own.lying_files("access_log").is_empty());
}
