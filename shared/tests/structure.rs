#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! The shape of the sources, read as text: modules in order, one address per concern.
//!
//! Comments, string contents where they don't matter, and tests are left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Reading order of the library: a module uses only those before it.
const ORDER: [&str; 24] = [
    "error",
    "clock",
    "limits",
    "metrics",
    "scan",
    "number",
    "record",
    "schema",
    "dead_letter",
    "columns",
    "unpack",
    "event",
    "decode",
    "partition",
    "naming",
    "write",
    "quarantine",
    "commit",
    "catalog",
    "compact",
    "close",
    "pipeline",
    "replay",
    "verify",
];

/// What stands where: text in the code, the files that may hold it (a path or a folder), why.
const ADDRESSES: [(&str, &[&str], &str); 8] = [
    (
        "simd_json",
        &["shared/src/decode/tape.rs", "shared/src/decode/tape/"],
        "the tape is the judge of decode",
    ),
    ("\"_weir/", &["shared/src/naming.rs", "shared/src/naming/"], "every object key is in naming"),
    ("std::env::var", &["functions/src/context.rs"], "the environment is read once, at init"),
    ("SystemTime::now", &["shared/src/clock.rs"], "time is an argument"),
    ("AWSGlue.", &["shared/src/catalog/glue/client.rs"], "Glue is asked at one place"),
    ("datafusion::", &["query/src/"], "SQL is behind plain functions"),
    ("lambda_runtime::", &["functions/src/", "functions/aggregate/src/"], "the library knows no Lambda"),
    ("ferrokinesis::", &["local/src/"], "the endpoint is the local runtime's"),
];

#[test]
fn a_module_uses_only_those_before_it() {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut wrong = Vec::new();
    for (path, code) in sources(&["shared/src"]) {
        let module = path.trim_start_matches("shared/src/").split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let Some(mine) = place(module) else {
            wrong.push(format!("{path}: give module {module} a place in ORDER, shared/tests/structure.rs"));
            continue;
        };
        for used in used_modules(&code) {
            // `crate::Error` and `crate::Result` are the first module's.
            if place(&used).is_some_and(|other| other > mine) {
                wrong.push(format!("{path}: {module} uses {used}, which comes after it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_concern_has_one_address() {
    let mut wrong = Vec::new();
    for (path, code) in sources(&[
        "shared/src",
        "functions/src",
        "functions/aggregate/src",
        "query/src",
        "local/src",
        "loadgen/src",
    ]) {
        for (text, addresses, why) in ADDRESSES {
            if code.contains(text) && !addresses.iter().any(|address| path.starts_with(address)) {
                wrong.push(format!("{path}: {text} belongs to {}: {why}", addresses[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_under_500_lines_and_none_is_called_utils() {
    let mut wrong = Vec::new();
    for root in ["shared", "functions", "query", "local", "loadgen", "tests", "bench"] {
        for file in rust_files(&checkout().join(root)) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            if lines >= 500 {
                wrong.push(format!("{}: {lines} lines; the design asks for a name", file.display()));
            }
            if file.file_stem().is_some_and(|stem| stem == "utils" || stem == "util" || stem == "helpers") {
                wrong.push(format!("{}: say what it does", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_checks_see_what_they_look_for() {
    let code = without_tests_and_comments(
        "use crate::{clock::Clock, commit};\n// crate::close in a comment\nfn f() { crate::naming::x(); }\n\
         #[cfg(test)]\nmod tests { use crate::pipeline; }\n",
    );
    assert_eq!(used_modules(&code), ["clock", "commit", "naming"]);
    assert!(sources(&["shared/src"]).len() > 10, "the sources were not found");
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Path from the checkout → code of every file that is not a test's.
fn sources(roots: &[&str]) -> BTreeMap<String, String> {
    let root = checkout();
    let mut found = BTreeMap::new();
    for file in roots.iter().flat_map(|r| rust_files(&root.join(r))) {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let of_tests = |part: &str| part == "tests" || part.starts_with("test_") || part.ends_with("_tests");
        if !path.split(['/', '.']).any(of_tests) {
            found.insert(path, without_tests_and_comments(&fs::read_to_string(&file).unwrap()));
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code without line comments, and without what follows `#[cfg(test)]` up to the end of the
/// item: its block, or its semicolon.
fn without_tests_and_comments(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find("//") {
        // Not the slashes of an address in a string.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut parts = code.split("#[cfg(test)]");
    let mut kept = parts.next().unwrap().to_owned();
    for part in parts {
        kept.push_str(after_item(part));
    }
    kept
}

fn after_item(code: &str) -> &str {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == '}' || c == ';') {
            return &code[at + 1..];
        }
    }
    ""
}

/// The modules named after `crate::`, alone or in braces.
fn used_modules(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for after in code.split("crate::").skip(1) {
        if let Some(group) = after.strip_prefix('{') {
            let mut depth = 0;
            let outer: String = group
                .chars()
                .take_while(|c| {
                    depth += i32::from(*c == '{') - i32::from(*c == '}');
                    depth >= 0
                })
                .collect();
            used.extend(outer_names(&outer));
        } else {
            used.push(after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    used
}

/// First names of the entries of a `use` group, nested groups left out.
fn outer_names(group: &str) -> Vec<String> {
    let mut depth = 0;
    let flat: String = group
        .chars()
        .filter(|c| {
            let inside = depth > 0;
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            !inside && depth == 0
        })
        .collect();
    flat.split(',').filter_map(|entry| entry.trim().split("::").next().map(str::to_owned)).collect()
}
