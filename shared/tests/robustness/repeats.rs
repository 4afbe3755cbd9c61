//! Inputs that repeat something, at one size and at eight times that: time and memory may grow in
//! proportion, and not with the square. CPU time of the thread is compared, so that a busy machine
//! does not matter, and a finding must show itself three times.

use super::entry;
use super::meter::{Cost, cost_of};
use super::seeds::{Random, record_of};

const SMALL: usize = 12 << 10;
const TIMES: usize = 8;
/// A square would be 64 times; what is in proportion, 8.
const MOST_TIMES: u32 = 24;

/// Text around and between two repeated parts, each a half of the input.
type Pattern = [&'static str; 5];

/// Repeated shapes on which readers of such text have been slow or large.
const PATTERNS: [Pattern; 26] = [
    ["", "{\n", "", "", ""],
    ["{", "\n{", "", "", ""],
    ["[", "1\n", "", "", ""],
    ["", "{\"a\":1}\n", "", "", ""],
    ["", "\"\n", "", "\n{\"", ""],
    ["", "[", "", "]", ""],
    ["{\"a\":", "[", "", "]", "}"],
    ["", "{\"a\":", "1", "}", ""],
    ["{\"s\":\"", "\\", "", "\\u00e9", "\"}"],
    ["{\"s\":\"", "\\ud83d", "", "x", "\"}"],
    ["{", "\"s\":1,", "", "\"o\":{\"x\":1},", "\"i\":1}"],
    ["{\"p\":", "0", "", "1", "}"],
    ["{\"p\":1.", "0", "", "0", "1}"],
    ["{\"q\":1e", "9", "", "9", "}"],
    ["{\"a\":[", "[1],", "", "null,", "[]]}"],
    ["{\"m\":{", "\"k\":[\"x\"],", "", "\"k\":null,", "\"z\":[]}}"],
    ["{\"o\":{\"w\":[", "{\"k\":1},", "", "{},", "null]}}"],
    ["{\"other\":[", "{\"k\":1},", "", "{},", "null]}"],
    ["{", "\"other\":[1],", "", "\"more\":{},", "\"s\":\"\"}"],
    ["{\"s\":\"", "\u{10FFFF}", "", "é", "\"}"],
    [
        "{\"messageType\":\"DATA_MESSAGE\",\"logGroup\":\"",
        "g",
        "\",\"logEvents\":[",
        "{\"message\":\"\"},",
        "{\"message\":\"\"}]}",
    ],
    [
        "{\"messageType\":\"DATA_MESSAGE\",\"logEvents\":[",
        "{\"message\":\" {}\"},",
        "",
        "{\"message\":\"{\"},",
        "{\"message\":\"\"}]}",
    ],
    ["{\"messageType\":\"DATA_MESSAGE\",\"logEvents\":[{\"message\":\"", "\\n", "", "{}", "\"}]}"],
    ["{\"Records\":[", "{},", "", "{\"kinesis\":{}},", "{}]}"],
    ["{\"Records\":[],\"state\":", "[", "1", "]", "}"],
    ["{\"format\":1,\"dead\":[", "\"x\",", "", "\"y\",", "\"z\"]}\n"],
];

/// Of which random repeated units are made.
const TOKENS: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\\"",
    ":",
    ",",
    "\n",
    " ",
    "1",
    "-",
    ".",
    "e9",
    "null",
    "\"s\":",
    "\"a\":[",
    "\"m\":{\"k\":",
    "é",
    "{}",
    "\n{",
];

fn input(pattern: &[String; 5], size: usize) -> Vec<u8> {
    let half =
        |unit: &str| if unit.is_empty() { String::new() } else { unit.repeat(size / 2 / unit.len() + 1) };
    let [start, first, middle, second, end] = pattern;
    [start, &half(first), middle, &half(second), end].map(String::as_str).concat().into_bytes()
}

fn is_in_proportion(small: Cost, large: Cost) -> Result<(), String> {
    let (time, bytes) =
        (small.cpu * MOST_TIMES + std::time::Duration::from_millis(20), 3 * TIMES * small.peak_bytes);
    if large.cpu > time {
        return Err(format!("{:?} for one size and {:?} for {TIMES} times that", small.cpu, large.cpu));
    }
    if large.peak_bytes > bytes + (1 << 20) {
        return Err(format!("{} bytes held, {} for {TIMES} times that", small.peak_bytes, large.peak_bytes));
    }
    Ok(())
}

fn check(name: &str, call: fn(&[u8]), pattern: &[String; 5]) {
    let (small, large) = (input(pattern, SMALL), input(pattern, SMALL * TIMES));
    let mut finding = String::new();
    for _ in 0..3 {
        match is_in_proportion(cost_of(|| call(&small)), cost_of(|| call(&large))) {
            Ok(()) => return,
            Err(found) => finding = found,
        }
    }
    panic!("{name} on {pattern:?} repeated: {finding}");
}

fn patterns() -> Vec<[String; 5]> {
    let mut random = Random(3);
    let mut unit = |most: usize| -> String {
        (0..random.below(most + 1)).map(|_| TOKENS[random.below(TOKENS.len())]).collect()
    };
    let random: Vec<_> = (0..24).map(|_| [unit(3), unit(4), unit(2), unit(4), unit(3)]).collect();
    PATTERNS.iter().map(|pattern| pattern.map(str::to_owned)).chain(random).collect()
}

/// The payload of one record of an event.
fn payload(bytes: &[u8]) {
    entry::event(&record_of(bytes));
}

/// The user record of an aggregate, and an aggregate of as many as there are bytes.
fn aggregate(bytes: &[u8]) {
    let field = |content: &[u8]| {
        let mut out = vec![0x1A];
        let mut n = content.len();
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        [&out[..], content].concat()
    };
    entry::kpl(&field(&field(bytes)));
    entry::kpl(&bytes.chunks(8).flat_map(|part| field(&field(part))).collect::<Vec<_>>());
}

#[test]
fn events_take_time_and_memory_in_proportion() {
    for pattern in patterns() {
        check("event", entry::event, &pattern);
        check("payload", payload, &pattern);
    }
}

#[test]
fn payloads_take_time_and_memory_in_proportion() {
    for pattern in patterns() {
        check("unpack", entry::unpack, &pattern);
        check("kpl", aggregate, &pattern);
    }
}

#[test]
fn documents_take_time_and_memory_in_proportion() {
    for pattern in patterns() {
        check("decode", entry::decode, &pattern);
    }
}

#[test]
fn commits_take_time_and_memory_in_proportion() {
    for pattern in patterns() {
        check("commit", entry::commit, &pattern);
    }
}
