//! How S3's answers to a conditional put are taken, against a server that answers by script. A real
//! server is in `tests/tests/stores`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;

use crate::commit::store::{LakeStore, Put, Retry};

/// Answer one request a connection with the statuses of the script; gives back the request heads.
fn serve(script: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for status in script {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // The body is the one byte after the head.
            while !request.windows(5).any(|w| w.starts_with(b"\r\n\r\n")) {
                let n = connection.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..n]);
            }
            heads.push(String::from_utf8_lossy(&request).to_ascii_lowercase());
            let answer =
                format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.write_all(answer.as_bytes()).unwrap();
        }
        heads
    });
    (address, server)
}

#[tokio::test]
async fn only_a_failed_precondition_says_that_the_name_is_taken() {
    let cases: &[(&'static [&'static str], Option<Put>)] = &[
        (&["200 OK"], Some(Put::Created)),
        (&["412 Precondition Failed"], Some(Put::Exists)),
        (&["409 Conflict", "200 OK"], Some(Put::Created)),
        (&["409 Conflict", "409 Conflict", "412 Precondition Failed"], Some(Put::Exists)),
        (&["409 Conflict", "409 Conflict", "409 Conflict"], None),
        (&["503 Slow Down", "200 OK"], Some(Put::Created)),
    ];
    for (script, expected) in cases {
        let (endpoint, server) = serve(script);
        let options = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("aws_region", "eu-west-1"),
            ("aws_access_key_id", "a"),
            ("aws_secret_access_key", "b"),
            ("PATH", "/bin"),
        ];
        let options: Vec<_> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let lake = LakeStore::open("s3://bucket/some/prefix", &options).unwrap();
        let lake = lake.with_retry(Retry { tries: 3, pause: Duration::from_millis(1) });
        let answer = lake.put_if_absent("t/live/dt=a%3Ab/x", Bytes::from_static(b"1")).await;
        match (answer, expected) {
            (Ok(put), Some(expected)) => assert_eq!(put, *expected, "{script:?}"),
            (Err(error), None) => assert!(error.retryable(), "{error}"),
            (answer, _) => panic!("{script:?}: {answer:?}"),
        }
        for head in server.join().unwrap() {
            assert!(head.starts_with("put /bucket/some/prefix/t/live/dt%3da%253ab/x http/1.1"), "{head}");
            assert!(head.contains("if-none-match: *"), "{head}");
        }
    }
}
