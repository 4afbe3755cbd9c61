//! A Glue of one table that enforces what no stand-in does: 100 partitions a call, short pages,
//! versions; and that fails when it is told to.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Partitions of a page, whatever is asked for.
const PAGE: usize = 40;

/// What goes wrong with a call.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// It is refused with this code.
    Refuse(&'static str),
    /// Something between answers with this status and text.
    Say(u16, &'static str),
    /// It takes effect, and the connection ends without an answer.
    LoseAnswer,
    /// Before it, somebody else writes this location and revision into every partition.
    Meanwhile(&'static str, u32),
}

#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) table: Option<Value>,
    pub(super) version: u32,
    pub(super) partitions: BTreeMap<Vec<String>, Value>,
    /// Next faults of a call.
    pub(super) faults: HashMap<&'static str, Vec<Fault>>,
    /// Codes that partitions with this value get, and how often.
    pub(super) items: HashMap<&'static str, (&'static str, u32)>,
    /// Calls in order, with the number of partitions each carried.
    pub(super) calls: Vec<(String, usize)>,
}

impl Service {
    pub(super) fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|(name, _)| name == call).count()
    }

    pub(super) fn start(self) -> (String, Arc<Mutex<Service>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = Arc::new(Mutex::new(self));
        let shared = Arc::clone(&service);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                shared.lock().unwrap().serve(stream.unwrap());
            }
        });
        (address, service)
    }

    fn serve(&mut self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let header = |name: &str| {
            let line = head.lines().find(|l| l.to_lowercase().starts_with(&format!("{name}: ")))?;
            Some(line[name.len() + 2..].trim().to_owned())
        };
        let mut body = vec![0; header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let target = header("x-amz-target").unwrap();
        let call = target.strip_prefix("AWSGlue.").unwrap();
        let fault = self.faults.get_mut(call).filter(|f| !f.is_empty()).map(|f| f.remove(0));
        let (status, answer) = match &fault {
            Some(Fault::Refuse(code)) => {
                let status = if code.starts_with("Internal") { 500 } else { 400 };
                (status, json!({"__type": code, "message": "as told"}))
            }
            Some(Fault::Say(status, _)) => (*status, Value::Null),
            _ => self.answer(call, &serde_json::from_slice(&body).unwrap(), fault.as_ref()),
        };
        if !matches!(fault, Some(Fault::LoseAnswer)) {
            let answer = match &fault {
                Some(Fault::Say(_, text)) => (*text).to_owned(),
                _ => answer.to_string(),
            };
            let length = answer.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
        }
    }

    fn answer(&mut self, call: &str, body: &Value, fault: Option<&Fault>) -> (u16, Value) {
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        let refused = |code: &str| (400, json!({"__type": code, "message": "as the service says"}));
        self.calls.push((call.to_owned(), list("PartitionInputList").len() + list("Entries").len()));
        if let Some(Fault::Meanwhile(location, revision)) = fault {
            for partition in self.partitions.values_mut() {
                partition["StorageDescriptor"]["Location"] = json!(location);
                partition["Parameters"]["weir.revision"] = json!(revision.to_string());
            }
        }
        match call {
            "GetTable" => match &self.table {
                Some(table) => {
                    let mut table = table.clone();
                    table["VersionId"] = json!(self.version.to_string());
                    (200, json!({"Table": table}))
                }
                None => refused("EntityNotFoundException"),
            },
            "CreateTable" if self.table.is_some() => refused("AlreadyExistsException"),
            "UpdateTable" if body["VersionId"] != json!(self.version.to_string()) => {
                refused("ConcurrentModificationException")
            }
            "CreateTable" | "UpdateTable" => {
                self.table = Some(body["TableInput"].clone());
                self.version += 1;
                (200, json!({}))
            }
            "BatchCreatePartition" | "BatchUpdatePartition"
                if list("PartitionInputList").len() + list("Entries").len() > 100 =>
            {
                refused("ValidationException")
            }
            "BatchCreatePartition" => {
                let errors: Vec<_> =
                    list("PartitionInputList").iter().filter_map(|p| self.create(p)).collect();
                (200, json!({"Errors": errors}))
            }
            "BatchUpdatePartition" => {
                for entry in list("Entries") {
                    self.partitions
                        .insert(texts(&entry["PartitionValueList"]), entry["PartitionInput"].clone());
                }
                (200, json!({}))
            }
            "GetPartition" => match self.partitions.get(&texts(&body["PartitionValues"])) {
                Some(partition) => (200, json!({"Partition": partition})),
                None => refused("EntityNotFoundException"),
            },
            "BatchGetPartition" if list("PartitionsToGet").len() > 1_000 => refused("ValidationException"),
            "BatchGetPartition" => {
                let asked: Vec<_> = list("PartitionsToGet").iter().map(|k| texts(&k["Values"])).collect();
                // Of many it leaves some to the next call.
                let (now, later) = asked.split_at(asked.len().min(2 * PAGE));
                let found: Vec<_> = now.iter().filter_map(|values| self.partitions.get(values)).collect();
                // What is not there is left out in the same way.
                let gone = now.iter().filter(|values| !self.partitions.contains_key(*values));
                let later: Vec<_> =
                    later.iter().chain(gone).map(|values| json!({"Values": values})).collect();
                (200, json!({"Partitions": found, "UnprocessedKeys": later}))
            }
            "GetPartitions" => {
                let from = body["NextToken"].as_str().map_or(0, |t| t.parse::<usize>().unwrap());
                let page: Vec<_> = self.partitions.values().skip(from).take(PAGE).cloned().collect();
                let more = from + page.len() < self.partitions.len();
                let next = more.then(|| (from + page.len()).to_string());
                (200, json!({"Partitions": page, "NextToken": next}))
            }
            "GetTables" => {
                let from = body["NextToken"].as_str().map_or(0, |t| t.parse::<usize>().unwrap());
                let page: Vec<_> =
                    (from..95).take(PAGE).map(|n| json!({"Name": format!("t{n:02}")})).collect();
                let next = (from + page.len() < 95).then(|| (from + page.len()).to_string());
                (200, json!({"TableList": page, "NextToken": next}))
            }
            other => panic!("{other} is not expected"),
        }
    }

    fn create(&mut self, partition: &Value) -> Option<Value> {
        let values = texts(&partition["Values"]);
        let failing = self.items.get_mut(values[0].as_str()).filter(|(_, times)| *times > 0);
        let code = match failing {
            Some((code, times)) => {
                *times -= 1;
                *code
            }
            None if self.partitions.contains_key(&values) => "AlreadyExistsException",
            None => {
                self.partitions.insert(values, partition.clone());
                return None;
            }
        };
        Some(json!({"PartitionValues": values, "ErrorDetail": {"ErrorCode": code, "ErrorMessage": "m"}}))
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}
