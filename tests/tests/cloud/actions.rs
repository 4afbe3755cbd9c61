//! What close starts in AWS: once, or not, with the reason.

use std::sync::Arc;

use serde_json::json;
use weir::close::{ActionCall, ActionState, Actions, AwsActions};
use weir::schema::CloseAction;
use weir_tests::aws::{Aws, StandIn};

use super::{both, client};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

fn actions(aws: &Aws) -> Arc<dyn Actions> {
    Arc::new(AwsActions::new(client(aws), "s3://bucket/lake"))
}

fn call(id: &str, repeated: bool) -> ActionCall {
    ActionCall {
        id: id.to_owned(),
        table: "clicks".into(),
        partition: "dt=2026-11-20".into(),
        values: vec!["2026-11-20".into()],
        location: "s3://bucket/lake/clicks/closed/dt=2026-11-20/r0001-1f/".into(),
        revision: 1,
        rows: 10,
        late_rows: 0,
        given_up: 0,
        bytes: 1_000,
        repeated,
    }
}

fn started(state: ActionState) -> String {
    match state {
        ActionState::Started { run } => run,
        other => panic!("not started: {other:?}"),
    }
}

fn refused(state: ActionState) -> String {
    match state {
        ActionState::Refused { reason } => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_job_is_started_once_for_an_id_whatever_became_of_the_first_answer() {
    for (which, aws) in both() {
        let command = json!({"Name": "glueetl", "ScriptLocation": "s3://bucket/x.py"}).to_string();
        aws.cli(["glue", "create-job", "--name", "once", "--role", ROLE, "--command", &command]);
        let (actions, job) = (actions(&aws), CloseAction::Job("once".into()));
        let first = started(actions.start(&job, &call("weir-a", false)).await.unwrap());
        let other = started(actions.start(&job, &call("weir-b", true)).await.unwrap());
        let again = started(actions.start(&job, &call("weir-a", true)).await.unwrap());
        assert_eq!(first, again, "{which:?}");
        assert_ne!(first, other, "{which:?}");
        let runs = aws.cli(["glue", "get-job-runs", "--job-name", "once"])["JobRuns"].clone();
        assert_eq!(runs.as_array().unwrap().len(), 2, "{which:?}");
        let run = runs.as_array().unwrap().iter().find(|r| r["Id"] == json!(first)).unwrap();
        let expected = json!({"--weir_action": "weir-a", "--weir_table": "clicks", "--weir_partition": "dt=2026-11-20",
            "--weir_location": "s3://bucket/lake/clicks/closed/dt=2026-11-20/r0001-1f/", "--weir_revision": "1",
            "--weir_rows": "10", "--weir_late_rows": "0", "--weir_given_up_records": "0"});
        assert_eq!(run["Arguments"], expected, "{which:?}");
        for repeated in [false, true] {
            let missing = CloseAction::Job("nobody".into());
            let reason = refused(actions.start(&missing, &call("weir-a", repeated)).await.unwrap());
            assert!(reason.contains("there is no job nobody; make it"), "{which:?}: {reason}");
        }
    }
}

#[tokio::test]
async fn an_execution_is_started_once_for_an_id() {
    for (which, aws) in both() {
        let machine = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}).to_string();
        let made = aws.cli([
            "stepfunctions",
            "create-state-machine",
            "--name",
            "m",
            "--definition",
            &machine,
            "--role-arn",
            ROLE,
        ]);
        let arn = made["stateMachineArn"].as_str().unwrap();
        let (actions, action) = (actions(&aws), CloseAction::StateMachine(arn.to_owned()));
        let first = started(actions.start(&action, &call("weir-a", false)).await.unwrap());
        assert!(first.ends_with(":weir-a"), "{which:?}: {first}");
        started(actions.start(&action, &call("weir-a", true)).await.unwrap());
        // Another input under the same name is no other execution.
        started(actions.start(&action, &ActionCall { rows: 11, ..call("weir-a", true) }).await.unwrap());
        let list = aws.cli(["stepfunctions", "list-executions", "--state-machine-arn", arn]);
        assert_eq!(list["executions"].as_array().unwrap().len(), 1, "{which:?}");
        let execution = aws.cli(["stepfunctions", "describe-execution", "--execution-arn", &first]);
        let input: serde_json::Value = serde_json::from_str(execution["input"].as_str().unwrap()).unwrap();
        assert_eq!((&input["table"], &input["revision"]), (&json!("clicks"), &json!(1)), "{which:?}");
        let missing = CloseAction::StateMachine(format!("{arn}-not"));
        let reason = refused(actions.start(&missing, &call("weir-a", false)).await.unwrap());
        assert!(reason.contains("StateMachineDoesNotExist"), "{which:?}: {reason}");
    }
}

#[tokio::test]
async fn a_crawler_that_runs_is_waited_for_until_it_is_ready() {
    for (which, aws) in both() {
        for (name, path) in [("own", "s3://bucket/raw"), ("wide", "s3://bucket")] {
            let targets = json!({"S3Targets": [{"Path": path}]}).to_string();
            aws.cli(["glue", "create-crawler", "--name", name, "--role", ROLE, "--targets", &targets]);
        }
        let (actions, crawler) = (actions(&aws), |name: &str| CloseAction::Crawler(name.to_owned()));
        started(actions.start(&crawler("own"), &call("weir-a", false)).await.unwrap());
        let second = actions.start(&crawler("own"), &call("weir-b", false)).await.unwrap();
        assert!(
            matches!(&second, ActionState::Waiting { reason } if reason.contains("is running")),
            "{which:?}: {second:?}"
        );
        let reason = refused(actions.start(&crawler("wide"), &call("weir-a", false)).await.unwrap());
        assert!(reason.contains("overlaps the lake"), "{which:?}: {reason}");
        let reason = refused(actions.start(&crawler("nobody"), &call("weir-a", false)).await.unwrap());
        assert!(reason.contains("there is no crawler nobody"), "{which:?}: {reason}");
        // moto's crawlers run for ever.
        if which == StandIn::MiniStack {
            let ready =
                || aws.cli(["glue", "get-crawler", "--name", "own"])["Crawler"]["State"] == json!("READY");
            assert!(weir_tests::process::wait_until(std::time::Duration::from_secs(20), ready));
            started(actions.start(&crawler("own"), &call("weir-b", true)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn an_event_says_which_partition_is_closed() {
    for (which, aws) in both() {
        let id = started(actions(&aws).start(&CloseAction::Event, &call("weir-a", false)).await.unwrap());
        assert!(!id.is_empty(), "{which:?}");
    }
    // A rule's target gets what was put.
    let Some(aws) = Aws::shared(StandIn::MiniStack) else { return };
    let queue = aws.cli(["sqs", "create-queue", "--queue-name", "closed"])["QueueUrl"].clone();
    let pattern = json!({"source": ["weir"], "detail-type": ["partition closed"]}).to_string();
    aws.cli(["events", "put-rule", "--name", "closed", "--event-pattern", &pattern]);
    let target = "Id=q,Arn=arn:aws:sqs:us-east-1:000000000000:closed";
    aws.cli(["events", "put-targets", "--rule", "closed", "--targets", target]);
    started(actions(&aws).start(&CloseAction::Event, &call("weir-c", false)).await.unwrap());
    let queue = queue.as_str().unwrap();
    let received = aws.cli(["sqs", "receive-message", "--queue-url", queue, "--wait-time-seconds", "5"]);
    let body: serde_json::Value =
        serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&body["detail-type"], &body["detail"]["id"]),
        (&json!("partition closed"), &json!("weir-c")),
        "{body}"
    );
}
