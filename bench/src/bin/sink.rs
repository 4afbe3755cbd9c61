//! A Kinesis endpoint that reads what it is sent, counts the records and stores nothing: with it a
//! generator is measured and not what it sends to. `sink PORT`, until it is stopped.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() -> Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "sink PORT"))?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("http://{}; Ctrl-C stops it", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that goes away ends its thread.
        thread::spawn(move || serve(&stream));
    }
    Ok(())
}

fn serve(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut requests, mut answers) = (BufReader::with_capacity(1 << 18, stream), stream);
    let mut body = Vec::new();
    while let Some((operation, length)) = head(&mut requests)? {
        body.resize(length, 0);
        requests.read_exact(&mut body)?;
        let answer = match operation.as_str() {
            "PutRecords" => stored(memchr::memmem::find_iter(&body, b"\"PartitionKey\"").count()),
            "DescribeStreamSummary" => SUMMARY.to_owned(),
            _ => "{}".to_owned(),
        };
        let length = answer.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1";
        answers.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{answer}").as_bytes())?;
    }
    Ok(())
}

/// Operation and length of the body; none where the connection ends.
fn head(requests: &mut impl BufRead) -> Result<Option<(String, usize)>> {
    let (mut operation, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => {
                operation = value.rsplit('.').next().unwrap_or_default().to_owned();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
            }
            None if line == "\r\n" => return Ok(Some((operation, length))),
            _ => {}
        }
    }
}

fn stored(records: usize) -> String {
    let record = r#"{"SequenceNumber":"49","ShardId":"shardId-000000000000"}"#;
    format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, vec![record; records].join(","))
}

const SUMMARY: &str = r#"{"StreamDescriptionSummary":{"StreamName":"sink","StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/sink","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1,"EnhancedMonitoring":[],"OpenShardCount":2}}"#;
