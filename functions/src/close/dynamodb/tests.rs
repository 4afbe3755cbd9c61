use std::thread::JoinHandle;

use super::super::scripted::{self, Scripted, at};
use super::*;

const ARN: &str = "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-11-20T05:00:00.000";

/// A service that gives these answers in turn; in the end, what it was asked.
fn serve(answers: Vec<Scripted>) -> (DynamoDbStream, JoinHandle<Vec<(String, Value)>>) {
    let (endpoint, serving) = scripted::serve(answers, "/eu-west-1/dynamodb/");
    let aws = scripted::settings("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", endpoint);
    let mut stream = DynamoDbStream::new(aws, ARN, "orders-1".to_owned()).unwrap();
    stream.pause = Duration::ZERO;
    (stream, serving)
}

fn iterator(name: &str) -> Value {
    json!({"ShardIterator": name})
}

fn empty(next: &str) -> Value {
    json!({"Records": [], "NextShardIterator": next})
}

fn record(second: i64) -> Value {
    json!({"Records": [{"dynamodb": {"ApproximateCreationDateTime": 1_795_258_800 + second, "Keys": {}}}],
           "NextShardIterator": "n"})
}

fn error(kind: &str) -> Value {
    json!({"__type": format!("com.amazonaws.dynamodb.streams#{kind}"), "message": "so it is"})
}

#[tokio::test]
async fn shards_of_all_pages_are_listed_as_of_the_first_and_ended_ones_are_known() {
    let page = |shards: &[(&str, bool)], last: Option<&str>| {
        let shards: Vec<_> = shards
            .iter()
            .map(|(id, ended)| {
                let ending = ended.then_some("0200");
                json!({"ShardId": id, "SequenceNumberRange":
                       {"StartingSequenceNumber": "0100", "EndingSequenceNumber": ending}})
            })
            .collect();
        json!({"StreamDescription": {"Shards": shards, "LastEvaluatedShardId": last}})
    };
    let (stream, serving) = serve(vec![
        (0, 400, error("LimitExceededException")),
        (1, 200, page(&[("a", true), ("b", false)], Some("b"))),
        (9, 200, page(&[("c", false)], None)),
        (9, 200, iterator("i")),
        (9, 200, record(3)),
    ]);
    let found = stream.shards().await.unwrap();
    let shard = |id: &str, closed| StreamShard { id: id.to_owned(), closed };
    let expected = vec![shard("a", true), shard("b", false), shard("c", false)];
    assert_eq!(found, Shards { at: at(1), shards: expected });
    let after = Some(SequenceNumber::parse(b"107").unwrap());
    assert_eq!(stream.first_after("b", after).await.unwrap(), Look::Record { arrived: at(3) });
    let asked = serving.join().unwrap();
    assert_eq!(asked[2].1["ExclusiveStartShardId"], "b");
    assert_eq!(asked[3].1["SequenceNumber"], "0107", "with the zeros that the stream writes");
    assert_eq!(stream.least_lateness(), Duration::from_secs(60));
}

#[tokio::test]
async fn a_shard_is_idle_after_five_empty_answers_over_ten_seconds_and_never_by_one() {
    let idle = |times: &[u64]| {
        let mut answers = vec![(0, 200, iterator("i"))];
        answers.extend(times.iter().map(|t| (*t, 200, empty("n"))));
        answers
    };
    let gone = (0, 400, error("ResourceNotFoundException"));
    let (expired, trimmed) = ("ExpiredIteratorException", "TrimmedDataAccessException");
    let again = vec![(11, 400, error(expired)), (11, 200, iterator("j"))];
    let cases: Vec<(&str, Vec<Scripted>, Look)> = vec![
        ("ten seconds", idle(&[0, 3, 6, 9, 12]), Look::Nothing { at: at(0) }),
        ("five at once prove nothing", idle(&[0, 1, 1, 2, 2, 10]), Look::Nothing { at: at(0) }),
        (
            "a record behind four",
            [idle(&[0, 4, 8, 12]), vec![(13, 200, record(2))]].concat(),
            Look::Record { arrived: at(2) },
        ),
        (
            "an iterator that expired begins anew",
            [idle(&[0, 3, 6, 9]), again, [20, 23, 26, 29, 32].map(|t| (t, 200, empty("n"))).to_vec()]
                .concat(),
            Look::Nothing { at: at(20) },
        ),
        ("its end", [idle(&[0, 1]), vec![(2, 200, json!({"Records": []}))]].concat(), Look::Ended),
        ("past its retention", vec![gone], Look::Ended),
        (
            "older records are gone, newer ones are there",
            vec![(0, 400, error(trimmed)), (0, 200, iterator("i")), (0, 200, record(5))],
            Look::Record { arrived: at(5) },
        ),
    ];
    for (why, answers, expected) in cases {
        let count = answers.len();
        let (stream, serving) = serve(answers);
        let after = Some(SequenceNumber::parse(b"107").unwrap());
        assert_eq!(stream.first_after("shardId-1", after).await.unwrap(), expected, "{why}");
        assert_eq!(serving.join().unwrap().len(), count, "{why}");
    }
}

#[tokio::test]
async fn without_a_tumbling_window_the_stream_is_one_shard_that_waits_for_the_mapping() {
    let page = json!({"StreamDescription": {"Shards": [{"ShardId": "a"}], "LastEvaluatedShardId": "a"}});
    let (stream, serving) = serve(vec![(0, 200, page.clone()), (2, 200, page)]);
    let stream = stream.held_back(Some(Duration::from_secs(21_660)));
    let found = stream.shards().await.unwrap();
    assert_eq!(found.shards, [StreamShard { id: ALL_SHARDS.to_owned(), closed: false }]);
    assert_eq!(stream.first_after(ALL_SHARDS, None).await.unwrap(), Look::Nothing { at: at(2) });
    assert_eq!(stream.held_back, Stream::held_back(&stream));
    serving.join().unwrap();
}
