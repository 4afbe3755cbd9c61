//! A service that says what a test wrote down.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use serde_json::Value;
use weir::clock::EpochMicros;

use crate::context::AwsSettings;

/// An answer: seconds past 11:00:00 of the service's clock, its status, what it says.
pub(super) type Scripted = (u64, u16, Value);

/// Gives these answers in turn to requests signed for `scope`; in the end, what it was asked.
pub(super) fn serve(
    answers: Vec<Scripted>,
    scope: &'static str,
) -> (String, JoinHandle<Vec<(String, Value)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (second, status, answer) in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let (mut target, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim().split_once(": ") else {
                    if line.trim().is_empty() {
                        break;
                    }
                    continue;
                };
                match name.to_lowercase().as_str() {
                    "x-amz-target" => target = value.to_owned(),
                    "content-length" => length = value.parse().unwrap(),
                    "authorization" => assert!(value.contains(scope), "{value}"),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            asked.push((operation, serde_json::from_slice(&body).unwrap()));
            let text = answer.to_string();
            let date = format!("Sat, 21 Nov 2026 11:{:02}:{:02} GMT", second / 60, second % 60);
            let length = text.len();
            write!(
                socket,
                "HTTP/1.1 {status} X\r\ndate: {date}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}"
            )
            .unwrap();
        }
        asked
    });
    (endpoint, serving)
}

/// Access to it.
pub(super) fn settings(name: &'static str, endpoint: String) -> AwsSettings {
    AwsSettings(vec![
        (name, endpoint),
        ("AWS_ACCESS_KEY_ID", "x".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "x".to_owned()),
    ])
}

/// The service's time, `second` past 11:00:00.
pub(super) fn at(second: i64) -> EpochMicros {
    EpochMicros((1_795_258_800 + second) * 1_000_000)
}
