//! What each service answers → what close is told, against a server that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::catalog::glue::Patience;

const ARN: &str = "arn:aws:states:eu-west-1:1:stateMachine:m";

/// Answers one request after another with a status and a body; hands over what it was asked.
fn server(answers: Vec<(u16, Value)>) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
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
            let body = body.to_string();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
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
    let told = actions(&address).start(action, &a_call()).await;
    let (word, text) = match told {
        Ok(ActionState::Started { run }) => ("started", run),
        Ok(ActionState::Waiting { reason }) => ("waiting", reason),
        Ok(ActionState::Refused { reason }) => ("refused", reason),
        Err(error) if error.retryable() => ("later", error.to_string()),
        Err(error) => ("error", error.to_string()),
    };
    (word, text, asked.recv().unwrap())
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
