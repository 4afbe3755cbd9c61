//! The judge: any bytes → a row, or why not. Takes every input; simd-json decides what is JSON, the
//! plan decides what fits. The only module that knows simd-json.
//!
//! The same key twice: the last one wins, in objects and in maps, as in JavaScript and Python.

use std::sync::Arc;

use hashbrown::HashMap;
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node as Tape, StaticNode, fill_tape_padded};

use crate::columns::ColumnSet;
use crate::dead_letter::Reason;
use crate::limits::MAX_JSON_DEPTH;
use crate::scan::number_end;
use crate::schema::UnknownFields;

use super::plan::{LeafKind, Member, Node, NodeKind, Object, Plan, Target};
use super::raw::node_spans;
use super::unknown::Unknown;
use super::value::{Checked, Violation, push_bool, push_default, push_key, push_number, push_text};

/// Marks a member that the object does not have.
const ABSENT: u32 = u32::MAX;

/// Reused buffers of the tape path.
pub(crate) struct TapePath {
    buffers: Buffers,
    text: Vec<u8>,
    tape: simd_json::Tape<'static>,
    slots: Vec<u32>,
    spans: Vec<(u32, u32)>,
    open: Vec<u32>,
}

impl Default for TapePath {
    fn default() -> Self {
        Self {
            buffers: Buffers::with_max_depth(1 << 16, MAX_JSON_DEPTH),
            text: Vec::new(),
            tape: simd_json::Tape::null(),
            slots: Vec::new(),
            spans: Vec::new(),
            open: Vec::new(),
        }
    }
}

impl TapePath {
    /// Decode one document into `set`. On a refusal `set` may hold part of the row: the caller
    /// truncates.
    pub(crate) fn decode(
        &mut self,
        plan: &Plan,
        doc: &[u8],
        set: &mut ColumnSet,
        unknown: &mut Unknown,
    ) -> Checked {
        self.text.clear();
        self.text.extend_from_slice(doc);
        self.text.resize(doc.len() + INPUT_PADDING, b' ');
        let mut tape = std::mem::replace(&mut self.tape, simd_json::Tape(Vec::new())).reset();
        let parsed = fill_tape_padded(&mut self.text, doc.len(), &mut self.buffers, &mut tape);
        self.slots.clear();
        self.spans.clear();
        let verdict = match parsed {
            Err(error) => Err(refusal(&error, doc)),
            Ok(()) => {
                let (slots, spans, open) = (&mut self.slots, &mut self.spans, &mut self.open);
                let mut walk = Walk { tape: &tape.0, doc, slots, spans, open, set, unknown };
                match tape.0.first() {
                    Some(Tape::Object { .. }) => walk.object(&plan.root, Some(0), 0),
                    Some(other) => Err(Violation::new(Reason::WrongType, "JSON object", type_name(other))),
                    None => Err(Violation::new(Reason::Empty, "JSON object", "nothing")),
                }
            }
        };
        self.tape = tape.reset();
        verdict
    }
}

fn refusal(error: &simd_json::Error, doc: &[u8]) -> Box<Violation> {
    if doc.iter().all(u8::is_ascii_whitespace) {
        return Violation::new(Reason::Empty, "JSON object", "nothing");
    }
    // A number of JSON that no double holds: the parser takes none, whatever the column.
    let at = error.index();
    let begins = at > 0 && matches!(doc.get(at - 1), Some(b':' | b',' | b'[' | b' ' | b'\t' | b'\n' | b'\r'));
    let end = number_end(doc, at).filter(|_| begins);
    if let (ErrorType::InvalidNumber, Some(end)) = (error.error(), end) {
        let found = String::from_utf8_lossy(&doc[at..end]);
        return Violation::new(Reason::OutOfRange, "number that a double holds", &found);
    }
    let (reason, found) = if let Err(error) = std::str::from_utf8(doc) {
        (Reason::InvalidUtf8, format!("bytes that are no UTF-8, at byte {}", error.valid_up_to()))
    } else if let Some(at) = lone_surrogate(doc) {
        (Reason::InvalidUtf8, format!("a surrogate without its other half, at byte {at}"))
    } else if deeper_than(doc, MAX_JSON_DEPTH) {
        (Reason::TooDeep, format!("more than {MAX_JSON_DEPTH} levels"))
    } else {
        (Reason::MalformedJson, syntax_error(doc).unwrap_or_else(|| format!("no JSON, at byte {at}")))
    };
    Violation::new(reason, "a JSON object in UTF-8", &found)
}

/// What is wrong and where, told by a slower parser, which knows it more exactly.
fn syntax_error(doc: &[u8]) -> Option<String> {
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(doc).err()?;
    let lines = doc.split_inclusive(|&b| b == b'\n').take(error.line().saturating_sub(1));
    let behind = lines.map(<[u8]>::len).sum::<usize>() + error.column();
    if error.is_eof() {
        return Some(format!("the end of the text, at byte {behind}"));
    }
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    // Bytes are counted from 0; the column is that behind the byte that is wrong, but for one kind.
    let at = if what.starts_with("control character") { behind } else { behind.saturating_sub(1) };
    Some(format!("{what}, at byte {at}"))
}

/// Where a refused text holds an escaped surrogate without its other half.
fn lone_surrogate(doc: &[u8]) -> Option<usize> {
    let unit = |at: usize| {
        let hex = doc.get(at..at + 6).filter(|h| h.starts_with(b"\\u"))?;
        u16::from_str_radix(std::str::from_utf8(&hex[2..]).ok()?, 16).ok()
    };
    let mut at = 0;
    while at < doc.len() {
        if doc[at] != b'\\' {
            at += 1;
            continue;
        }
        match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => return Some(at),
            _ => at += 2,
        }
    }
    None
}

/// Whether brackets outside of strings nest deeper than `limit`.
fn deeper_than(doc: &[u8], limit: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    doc.iter().any(|&b| {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > limit
    })
}

fn type_name(node: &Tape<'_>) -> &'static str {
    match node {
        Tape::String(_) => "string",
        Tape::Object { .. } => "object",
        Tape::Array { .. } => "array",
        Tape::Static(StaticNode::Null) => "null",
        Tape::Static(StaticNode::Bool(_)) => "boolean",
        Tape::Static(_) => "number",
    }
}

struct Walk<'a> {
    tape: &'a [Tape<'a>],
    doc: &'a [u8],
    slots: &'a mut Vec<u32>,
    spans: &'a mut Vec<(u32, u32)>,
    open: &'a mut Vec<u32>,
    set: &'a mut ColumnSet,
    unknown: &'a mut Unknown,
}

impl<'a> Walk<'a> {
    fn next(&self, at: usize) -> usize {
        match self.tape[at] {
            Tape::Object { count, .. } | Tape::Array { count, .. } => at + 1 + count,
            _ => at + 1,
        }
    }

    fn raw(&mut self, at: usize) -> &'a [u8] {
        if self.spans.is_empty() {
            node_spans(self.doc, self.spans, self.open);
        }
        let (start, end) = self.spans.get(at).copied().unwrap_or_default();
        self.doc.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The members of an object; `None`: the object is absent, and so is all in it.
    fn object(&mut self, object: &Object, at: Option<usize>, rep: u8) -> Checked {
        let base = self.slots.len();
        self.slots.resize(base + object.members.len(), ABSENT);
        if let Some(at) = at {
            let Tape::Object { len, .. } = self.tape[at] else { return Ok(()) };
            let mut at = at + 1;
            for _ in 0..len {
                let Tape::String(key) = self.tape[at] else { return Ok(()) };
                match object.by_key.get(key) {
                    Some(&member) => self.slots[base + member] = at as u32 + 1,
                    None if object.known_to_all || object.unread.contains(&key) => {}
                    None => self.unknown_field(object, key, at + 1)?,
                }
                at = self.next(at + 1);
            }
        }
        for (i, member) in object.members.iter().enumerate() {
            let at = Some(self.slots[base + i]).filter(|&at| at != ABSENT).map(|at| at as usize);
            self.member(member, at, rep)?;
        }
        self.slots.truncate(base);
        Ok(())
    }

    fn unknown_field(&mut self, object: &Object, key: &str, at: usize) -> Checked {
        match self.unknown.policy {
            UnknownFields::Ignore => {}
            UnknownFields::Reject => {
                let found = format!("{}{key}", object.path);
                self.unknown.count(&object.path, key);
                return Err(Violation::new(Reason::UnknownField, "only the table's fields", &found));
            }
            UnknownFields::Rescue => {
                let raw = self.raw(at);
                self.unknown.rescue(&object.path, key, raw);
            }
        }
        self.unknown.count(&object.path, key);
        Ok(())
    }

    fn member(&mut self, member: &Member, at: Option<usize>, rep: u8) -> Checked {
        let at = at.filter(|&at| !matches!(self.tape[at], Tape::Static(StaticNode::Null)));
        match (&member.target, at) {
            (Target::Inside { object, whole }, at) => {
                for column in whole {
                    let node = &column.node;
                    match at {
                        Some(at) => self.value(node, at, rep).map_err(|v| v.under(&node.name))?,
                        None => push_absent((column.required, &column.default), node, self.set, rep)?,
                    }
                }
                match at.map(|at| &self.tape[at]) {
                    None | Some(Tape::Object { .. }) => self.object(object, at, rep),
                    // Kept whole as JSON text: then it may be anything.
                    Some(_) if !whole.is_empty() => self.object(object, None, rep),
                    Some(other) => {
                        Err(Violation::new(Reason::WrongType, "object", type_name(other)).under(&member.key))
                    }
                }
            }
            (Target::Node(node), Some(at)) => self.value(node, at, rep).map_err(|v| v.under(&node.name)),
            (Target::Node(node), None) => {
                push_absent((member.required, &member.default), node, self.set, rep)
            }
        }
    }

    /// A value that is not null.
    fn value(&mut self, node: &Node, at: usize, rep: u8) -> Checked {
        match &node.kind {
            NodeKind::Leaf { kind: LeafKind::Json, .. } => {
                let raw = self.raw(at);
                self.set.leaves[node.leaves.start].push_bytes(raw, rep);
                Ok(())
            }
            NodeKind::Leaf { kind, rules } => {
                let rules = rules.as_deref();
                let number = match self.tape[at] {
                    Tape::Static(StaticNode::I64(_) | StaticNode::U64(_) | StaticNode::F64(_)) => {
                        self.raw(at)
                    }
                    _ => &[],
                };
                let leaf = &mut self.set.leaves[node.leaves.start];
                match &self.tape[at] {
                    Tape::String(text) => push_text(kind, rules, text, leaf, rep),
                    Tape::Static(StaticNode::Bool(b)) => push_bool(kind, *b, leaf, rep),
                    Tape::Static(_) => push_number(kind, rules, number, leaf, rep),
                    other => Err(kind.wrong_type(type_name(other))),
                }
            }
            NodeKind::Struct(object) => match &self.tape[at] {
                Tape::Object { .. } => self.object(object, Some(at), rep),
                other => Err(Violation::new(Reason::WrongType, "object", type_name(other))),
            },
            NodeKind::List(element) => match self.tape[at] {
                Tape::Array { len, .. } => self.list(node, element, at, len, rep),
                ref other => Err(Violation::new(Reason::WrongType, "array", type_name(other))),
            },
            NodeKind::Map { key, value } => match self.tape[at] {
                Tape::Object { len, .. } => self.map(node, (key, value), at, len, rep),
                ref other => Err(Violation::new(Reason::WrongType, "object", type_name(other))),
            },
        }
    }

    fn list(&mut self, node: &Node, element: &Node, at: usize, len: usize, rep: u8) -> Checked {
        if len == 0 {
            self.set.push_null(node.leaves.clone(), node.def, rep);
        }
        let (mut at, mut rep) = (at + 1, rep);
        for i in 0..len {
            if matches!(self.tape[at], Tape::Static(StaticNode::Null)) {
                self.set.push_null(element.leaves.clone(), element.def - 1, rep);
            } else {
                self.value(element, at, rep).map_err(|v| v.under(&format!("[{i}]")))?;
            }
            rep = element.rep;
            at = self.next(at);
        }
        Ok(())
    }

    fn map(&mut self, node: &Node, entry: (&Node, &Node), at: usize, len: usize, rep: u8) -> Checked {
        let (key, value) = entry;
        if len == 0 {
            self.set.push_null(node.leaves.clone(), node.def, rep);
        }
        let mut last: HashMap<&str, usize, foldhash::fast::FixedState> = HashMap::default();
        let mut entries = Vec::with_capacity(len);
        let (mut at, mut rep) = (at + 1, rep);
        for _ in 0..len {
            let Tape::String(name) = self.tape[at] else { return Ok(()) };
            last.insert(name, at);
            entries.push((name, at));
            at = self.next(at + 1);
        }
        for (name, at) in entries {
            if last.get(name) != Some(&at) {
                continue;
            }
            let NodeKind::Leaf { kind, .. } = &key.kind else { return Ok(()) };
            let leaf = &mut self.set.leaves[key.leaves.start];
            push_key(kind, name, leaf, rep).map_err(|v| v.under(name))?;
            if matches!(self.tape[at + 1], Tape::Static(StaticNode::Null)) {
                self.set.push_null(value.leaves.clone(), value.def - 1, rep);
            } else {
                self.value(value, at + 1, rep).map_err(|v| v.under(name))?;
            }
            rep = value.rep;
        }
        Ok(())
    }
}

/// A member that is absent or null: its default, a null, or a refusal.
pub(crate) fn push_absent(
    (required, default): (bool, &Option<Arc<str>>),
    node: &Node,
    set: &mut ColumnSet,
    rep: u8,
) -> Checked {
    match (default, &node.kind) {
        (Some(default), NodeKind::Leaf { kind, rules }) => {
            let leaf = &mut set.leaves[node.leaves.start];
            push_default(kind, rules.as_deref(), default, leaf, rep).map_err(|v| v.under(&node.name))
        }
        _ if required => {
            Err(Violation::new(Reason::MissingRequired, "a value (weir.required)", "nothing")
                .under(&node.name))
        }
        _ => {
            set.push_null(node.leaves.clone(), node.def - 1, rep);
            Ok(())
        }
    }
}
