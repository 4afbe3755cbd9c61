//! What each service answers → what close is told, against a server that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::catalog::glue::Patience;
use crate::close::EngineSetting;

const ARN: &str = "arn:aws:states:eu-west-1:1:stateMachine:m";

/// Answers one request after another with a status and a body; hands over what it was asked.
fn server(answers: Vec<(u16, Value)>) -> (String, Receiver<(String, Value)>) {
    let plain = |(status, body): (u16, Value)| (status, "X-Plain: 1".to_owned(), body.to_string());
    serve(answers.into_iter().map(plain).collect())
}

/// The same with a header, and a body as it is.
fn serve(answers: Vec<(u16, String, String)>) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for (status, header, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut request = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut request).unwrap();
            sender.send((head, serde_json::from_slice(&request).unwrap())).unwrap();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    (address, asked)
}

fn actions(endpoint: &str) -> AwsActions {
    let options = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL", endpoint),
    ];
    let options = options.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let access = AwsAccess::from_options(&options, Patience::SHORT).unwrap();
    AwsActions::new(Arc::new(GlueClient::new(Arc::new(access), 7)), "s3://b/lake")
}

fn a_call() -> ActionCall {
    ActionCall {
        id: "weir-1f".into(),
        table: "clicks".into(),
        partition: "dt=2026-11-20".into(),
        values: vec!["2026-11-20".into()],
        location: "s3://b/lake/clicks/closed/dt=2026-11-20/r0002-1f/".into(),
        revision: 2,
        rows: 10,
        late_rows: 1,
        given_up: 3,
        bytes: 1_000,
        repeated: false,
    }
}

/// What it came to, in a word, and the text with it.
async fn told(answer: (u16, Value), action: &CloseAction) -> (&'static str, String, (String, Value)) {
    let (address, asked) = server(vec![answer]);
    let (word, text) = outcome(actions(&address).start(action, &a_call()).await);
    (word, text, asked.recv().unwrap())
}

fn outcome(told: Result<ActionState>) -> (&'static str, String) {
    match told {
        Ok(ActionState::Started { run }) => ("started", run),
        Ok(ActionState::Waiting { reason }) => ("waiting", reason),
        Ok(ActionState::Refused { reason }) => ("refused", reason),
        Err(error) if error.retryable() => ("later", error.to_string()),
        Err(error) => ("error", error.to_string()),
    }
}

#[tokio::test]
async fn an_execution_is_started_once_under_the_name_of_the_action() {
    let action = CloseAction::StateMachine(ARN.into());
    let refusal = |code: &str| json!({"__type": format!("com.amazonaws.states#{code}"), "message": "m"});
    let cases = [
        (200, json!({"executionArn": "arn:e"}), "started", "arn:e"),
        (400, refusal("ExecutionAlreadyExists"), "started", "execution weir-1f"),
        (400, refusal("ExecutionLimitExceeded"), "waiting", "ExecutionLimitExceeded: m"),
        (400, refusal("StateMachineDoesNotExist"), "refused", "take `state-machine:arn:aws:states"),
        (400, refusal("AccessDeniedException"), "refused", "allow states:StartExecution"),
        (400, refusal("InvalidArn"), "refused", "InvalidArn: m"),
        (400, refusal("ThrottlingException"), "later", "could not start an execution at http://127"),
        (503, json!({}), "later", "could not start an execution at http://127"),
    ];
    for (status, answer, word, text) in cases {
        let (found, said, (head, body)) = told((status, answer.clone()), &action).await;
        assert_eq!(found, word, "{answer}: {said}");
        assert!(said.contains(text), "{answer}: {said}");
        assert!(head.to_lowercase().contains("x-amz-target: awsstepfunctions.startexecution"), "{head}");
        assert!(head.contains("/eu-west-1/states/aws4_request"), "{head}");
        assert_eq!((&body["name"], &body["stateMachineArn"]), (&json!("weir-1f"), &json!(ARN)));
        let input: Value = serde_json::from_str(body["input"].as_str().unwrap()).unwrap();
        assert_eq!((&input["revision"], &input["partition"]), (&json!(2), &json!("dt=2026-11-20")));
    }
}

#[tokio::test]
async fn an_event_that_the_bus_did_not_take_is_not_taken_for_sent() {
    let entry = |entry: Value| json!({"FailedEntryCount": 0, "Entries": [entry]});
    let cases = [
        (200, entry(json!({"EventId": "e-1"})), "started", "e-1"),
        (
            200,
            entry(json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "m"})),
            "later",
            "put an event",
        ),
        (200, entry(json!({"ErrorCode": "InternalFailure", "ErrorMessage": "m"})), "later", "put an event"),
        (
            200,
            entry(json!({"ErrorCode": "NotAuthorizedForSource", "ErrorMessage": "m"})),
            "refused",
            "PutEvents",
        ),
        (200, json!({}), "later", "neither EventId nor ErrorCode"),
        (
            400,
            json!({"__type": "AccessDeniedException", "Message": "no"}),
            "refused",
            "AccessDeniedException: no",
        ),
        (500, json!({}), "later", "put an event"),
    ];
    for (status, answer, word, text) in cases {
        let (found, said, (head, body)) = told((status, answer.clone()), &CloseAction::Event).await;
        assert_eq!(found, word, "{answer}: {said}");
        assert!(said.contains(text), "{answer}: {said}");
        assert!(head.contains("/us-east-1/events/aws4_request"), "{head}");
        let entry = &body["Entries"][0];
        assert_eq!((&entry["Source"], &entry["DetailType"]), (&json!("weir"), &json!("partition closed")));
        let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        let expected = json!({"id": "weir-1f", "table": "clicks", "partition": "dt=2026-11-20",
            "values": ["2026-11-20"], "location": "s3://b/lake/clicks/closed/dt=2026-11-20/r0002-1f/",
            "revision": 2, "rows": 10, "late_rows": 1, "given_up_records": 3, "bytes": 1000});
        assert_eq!(detail, expected);
    }
}

#[tokio::test]
async fn a_job_that_cannot_start_says_whether_it_will() {
    let refusal = |code: &str| json!({"__type": code, "message": "m"});
    let cases = [
        (200, json!({"JobRunId": "jr_1"}), "started", "jr_1"),
        (400, refusal("ConcurrentRunsExceededException"), "waiting", "as many runs as it may have"),
        (400, refusal("ResourceNumberLimitExceededException"), "waiting", "the account"),
        (
            400,
            refusal("EntityNotFoundException"),
            "refused",
            "there is no job compact; make it, or take `job:compact`",
        ),
        (400, refusal("AccessDeniedException"), "refused", "allow glue:StartJobRun"),
        (400, refusal("InvalidInputException"), "refused", "InvalidInputException: m"),
        // One request each: an answer that is lost is no reason to start it a second time.
        (400, refusal("ThrottlingException"), "later", "could not start job compact"),
        (500, refusal("InternalServiceException"), "later", "could not start job compact"),
    ];
    for (status, answer, word, text) in cases {
        let (found, said, (_, body)) =
            told((status, answer.clone()), &CloseAction::Job("compact".into())).await;
        assert_eq!(found, word, "{answer}: {said}");
        assert!(said.contains(text), "{answer}: {said}");
        assert_eq!(body["JobName"], "compact");
        assert_eq!(body["Arguments"]["--weir_action"], "weir-1f");
        assert_eq!(body["Arguments"]["--weir_revision"], "2");
        assert_eq!(body["Arguments"].as_object().unwrap().len(), 8);
    }
}

#[tokio::test]
async fn a_repeated_start_finds_the_run_that_carries_the_id() {
    let run = |id: &str, action: &str| json!({"Id": id, "Arguments": {"--weir_action": action}});
    let pages = [
        (200, json!({"JobRuns": [run("jr_9", "weir-other")], "NextToken": "2"})),
        (200, json!({"JobRuns": [{"Id": "jr_8"}, run("jr_7", "weir-1f")]})),
    ];
    let call = ActionCall { repeated: true, ..a_call() };
    let action = CloseAction::Job("compact".into());
    let (address, asked) = server(pages.to_vec());
    let found = actions(&address).start(&action, &call).await.unwrap();
    assert_eq!(found, ActionState::Started { run: "jr_7".into() });
    let asked: Vec<_> = asked.iter().take(2).collect();
    assert!(asked.iter().all(|(head, _)| head.contains("AWSGlue.GetJobRuns")), "{asked:?}");
    assert_eq!(asked[1].1["NextToken"], "2");

    let (address, asked) = server(vec![(200, json!({"JobRuns": []})), (200, json!({"JobRunId": "jr_1"}))]);
    let started = actions(&address).start(&action, &call).await.unwrap();
    assert_eq!(started, ActionState::Started { run: "jr_1".into() });
    assert!(asked.iter().nth(1).unwrap().0.contains("AWSGlue.StartJobRun"));
}

#[tokio::test]
async fn a_crawler_that_runs_is_waited_for_and_one_over_the_lake_is_refused() {
    let crawler = |state: &str, path: &str| {
        (200, json!({"Crawler": {"Name": "c", "State": state, "Targets": {"S3Targets": [{"Path": path}]}}}))
    };
    let refusal = |code: &str| (400, json!({"__type": code, "message": "m"}));
    let cases = [
        (vec![crawler("READY", "s3://b/raw"), (200, json!({}))], "started", "crawler c"),
        (vec![crawler("RUNNING", "s3://b/raw")], "waiting", "crawler c is running"),
        (vec![crawler("STOPPING", "s3://b/raw")], "waiting", "crawler c is stopping"),
        (vec![crawler("READY", "s3://b/raw"), refusal("CrawlerRunningException")], "waiting", "is running"),
        (vec![crawler("READY", "s3://b/")], "refused", "overlaps the lake s3://b/lake"),
        (vec![refusal("EntityNotFoundException")], "refused", "there is no crawler c; make it, or take"),
        (
            vec![crawler("READY", "s3://b/raw"), refusal("AccessDeniedException")],
            "refused",
            "glue:StartCrawler",
        ),
    ];
    for (answers, word, text) in cases {
        let (address, _asked) = server(answers.clone());
        let told = actions(&address).start(&CloseAction::Crawler("c".into()), &a_call()).await.unwrap();
        let (found, said) = match told {
            ActionState::Started { run } => ("started", run),
            ActionState::Waiting { reason } => ("waiting", reason),
            ActionState::Refused { reason } => ("refused", reason),
        };
        assert_eq!(found, word, "{answers:?}: {said}");
        assert!(said.contains(text), "{answers:?}: {said}");
    }
}

/// Aggregates where both engines are there and a kilobyte is much.
fn aggregates(endpoint: &str, function: &str) -> AwsActions {
    actions(endpoint).with_aggregates(Aggregates {
        function: Some(function.to_owned()),
        glue_job: Some("spark".to_owned()),
        sql: Some("s3://b/jobs".to_owned()),
        catalog: Some("glue://db".to_owned()),
        engine: EngineSetting::Above(1_000),
    })
}

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:1:function:aggregate:live";

#[tokio::test]
async fn a_small_partition_is_aggregated_by_the_function_as_an_event() {
    let no = |code: &str| format!("X-Amzn-ErrorType: {code}:http://internal.amazon.com/coral/");
    let said = |reason: &str| json!({"Type": "User", "Message": "m", "Reason": reason}).to_string();
    let limit = "ReservedFunctionConcurrentInvocationLimitExceeded";
    let cases = [
        (
            202,
            "X-Amzn-RequestId: r-1".to_owned(),
            String::new(),
            "started",
            "request r-1: 1000 bytes are within",
        ),
        (429, no("TooManyRequestsException"), said(limit), "waiting", "cannot be invoked now"),
        (
            429,
            no("TooManyRequestsException"),
            said("CallerRateLimitExceeded"),
            "later",
            "could not invoke a function",
        ),
        (
            409,
            no("ResourceConflictException"),
            said(""),
            "waiting",
            "ResourceConflictException: m (1000 bytes",
        ),
        (
            404,
            no("ResourceNotFoundException"),
            said(""),
            "refused",
            "deploy it, or correct WEIR_AGGREGATE_FUNCTION",
        ),
        (403, no("AccessDeniedException"), said(""), "refused", "allow lambda:InvokeFunction"),
        (403, "X: 1".to_owned(), json!({"message": "no key"}).to_string(), "refused", "no key (1000 bytes"),
        (400, no("InvalidRequestContentException"), said(""), "refused", "InvalidRequestContentException: m"),
        (500, no("ServiceException"), said(""), "later", "could not invoke a function at http://127"),
        (502, no("EC2ThrottledException"), said(""), "later", "could not invoke a function at http://127"),
    ];
    let action = CloseAction::Aggregate("clickstream_pages".into());
    for (status, header, body, word, text) in cases {
        let (address, asked) = serve(vec![(status, header.clone(), body)]);
        let told = aggregates(&address, FUNCTION).start(&action, &a_call()).await;
        let (found, said) = outcome(told);
        assert_eq!(found, word, "{header}: {said}");
        assert!(said.contains(text), "{header}: {said}");
        let (head, body) = asked.recv().unwrap();
        let path = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Aaggregate%3Alive/invocations";
        assert!(head.starts_with(&format!("POST {path} ")), "{head}");
        assert!(head.to_lowercase().contains("x-amz-invocation-type: event"), "{head}");
        assert!(head.contains("/eu-west-1/lambda/aws4_request"), "{head}");
        // What the function takes as its event: the action as it is, with the job beside it.
        assert_eq!(body["job"], "clickstream_pages");
        assert_eq!(serde_json::from_value::<ActionCall>(body).unwrap(), a_call());
    }
}

#[tokio::test]
async fn a_large_partition_is_aggregated_by_the_glue_job_once_for_an_id() {
    let refusal = |code: &str| (400, json!({"__type": code, "message": "m"}));
    let cases = [
        ((200, json!({"JobRunId": "jr_1"})), "started", "job spark, run jr_1: 1001 bytes are more than"),
        (refusal("ConcurrentRunsExceededException"), "waiting", "as many runs as it may have at once (1001"),
        (refusal("EntityNotFoundException"), "refused", "make it, or correct WEIR_AGGREGATE_GLUE_JOB"),
        (refusal("AccessDeniedException"), "refused", "allow glue:StartJobRun"),
        (refusal("ThrottlingException"), "later", "could not start job spark"),
    ];
    let action = CloseAction::Aggregate("clickstream_pages".into());
    let call = ActionCall { bytes: 1_001, ..a_call() };
    for (answer, word, text) in cases {
        let (address, asked) = server(vec![answer.clone()]);
        let (found, said) = outcome(aggregates(&address, FUNCTION).start(&action, &call).await);
        assert_eq!(found, word, "{answer:?}: {said}");
        assert!(said.contains(text), "{answer:?}: {said}");
        let (_, body) = asked.recv().unwrap();
        assert_eq!(body["JobName"], "spark");
        for (argument, value) in [
            ("--weir_job", "clickstream_pages"),
            ("--weir_jobs", "s3://b/jobs"),
            ("--weir_lake", "s3://b/lake"),
            ("--weir_catalog", "glue://db"),
            ("--weir_table", "clicks"),
            ("--weir_partition", "dt=2026-11-20"),
            ("--weir_location", "s3://b/lake/clicks/closed/dt=2026-11-20/r0002-1f/"),
            ("--weir_revision", "2"),
            ("--weir_action", "weir-1f"),
        ] {
            assert_eq!(body["Arguments"][argument], value, "{argument}");
        }
    }
    // Started before, and the answer was lost.
    let run = json!({"Id": "jr_7", "Arguments": {"--weir_action": "weir-1f"}});
    let (address, asked) = server(vec![(200, json!({"JobRuns": [run]}))]);
    let again = ActionCall { repeated: true, ..call };
    let (found, said) = outcome(aggregates(&address, FUNCTION).start(&action, &again).await);
    assert_eq!((found, said.split(':').next()), ("started", Some("job spark, run jr_7")), "{said}");
    assert!(asked.recv().unwrap().0.contains("AWSGlue.GetJobRuns"));
}

#[tokio::test]
async fn what_an_engine_lacks_is_told_with_the_settings_that_help() {
    let action = CloseAction::Aggregate("clickstream_pages".into());
    let nobody = "http://127.0.0.1:1";
    let all = Aggregates {
        function: Some("aggregate".into()),
        glue_job: Some("spark".into()),
        catalog: Some("glue://db".into()),
        ..Aggregates::default()
    };
    let glue = EngineSetting::Always(crate::close::Engine::Glue);
    for (aggregates, help) in [
        (Aggregates::default(), "set WEIR_AGGREGATE_FUNCTION, or WEIR_AGGREGATE_ENGINE=glue (1000 bytes"),
        (Aggregates { engine: glue, glue_job: None, ..all.clone() }, "set WEIR_AGGREGATE_GLUE_JOB, or"),
        (Aggregates { engine: glue, catalog: None, ..all }, "set WEIR_CATALOG=glue://DATABASE, or"),
    ] {
        let told = actions(nobody).with_aggregates(aggregates).start(&action, &a_call()).await;
        let (found, said) = outcome(told);
        assert_eq!(found, "refused", "{said}");
        assert!(said.contains(help), "{said}");
    }
}
