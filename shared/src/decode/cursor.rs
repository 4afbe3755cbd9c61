//! The predictive cursor: reads the shape it expects straight into the columns and gives up on
//! anything else. Giving up costs nothing but time: the caller takes the row back and asks the
//! tape. Whatever it accepts, it accepts as the tape would (a property test and the fuzzer hold
//! that). Input must be valid UTF-8.

use crate::columns::{ColumnSet, LeafColumn};

use super::plan::{LeafKind, Node, NodeKind, Object, Plan, Rules, Target};
use super::tape::push_absent;
use super::value::{push_bool, push_key, push_number, push_text};
use crate::scan::{number_end, skip_space, string_stop, unescape};

/// Members of an object that the cursor tracks in one word.
const MAX_MEMBERS: usize = 64;
/// Map entries compared pairwise for duplicates; more go to the tape.
const MAX_MAP_ENTRIES: usize = 16;

/// A member as the cursor looks for it: side by side in memory, so that no pointer has to be followed
/// from one key to the next.
#[derive(Debug)]
struct Step {
    /// The first bytes of `"key":`, in memory order, and which of them count.
    head: u128,
    mask: u128,
    /// Bytes of `"key":`.
    len: usize,
    /// Which member came after this one last time.
    successor: u8,
}

const HEAD_BYTES: usize = 16;

impl Step {
    fn new(literal: &[u8], successor: usize) -> Self {
        let mut head = [0; HEAD_BYTES];
        let mut mask = [0; HEAD_BYTES];
        for (at, byte) in literal.iter().take(HEAD_BYTES).enumerate() {
            (head[at], mask[at]) = (*byte, !0);
        }
        let (head, mask) = (u128::from_le_bytes(head), u128::from_le_bytes(mask));
        Self { head, mask, len: literal.len(), successor: successor.min(MAX_MEMBERS) as u8 }
    }

    /// What comes before the first member. No UTF-8 is this; who gets here behind the last member goes on
    /// with the first.
    fn before_all() -> Self {
        Self { head: !0, mask: !0, len: 0, successor: 0 }
    }
}

/// Learned order of members, and scratch space.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// For each object of the plan its members, and last what comes before the first.
    steps: Vec<Vec<Step>>,
    text: Vec<u8>,
    able: bool,
}

impl Cursor {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut steps: Vec<_> = std::iter::repeat_with(Vec::new).take(plan.objects).collect();
        let mut able = plan.direct;
        prepare(&plan.root, &mut steps, &mut able);
        Self { steps, text: Vec::new(), able }
    }

    /// Decode one document into `set`. `false`: not what was expected, or not a good row; `set` may
    /// hold part of it.
    #[inline]
    pub(crate) fn decode(&mut self, plan: &Plan, doc: &[u8], set: &mut ColumnSet) -> bool {
        if !self.able {
            return false;
        }
        let start = skip_space(doc, 0);
        match self.object(&plan.root, doc, start, set, 0) {
            Some(end) => end == doc.len() || skip_space(doc, end) == doc.len(),
            None => false,
        }
    }

    fn object(
        &mut self,
        object: &Object,
        doc: &[u8],
        mut at: usize,
        set: &mut ColumnSet,
        rep: u8,
    ) -> Option<usize> {
        if doc.get(at) != Some(&b'{') {
            return None;
        }
        let first = object.members.len();
        let (mut seen, mut previous) = (0u64, first);
        at = skip_space(doc, at + 1);
        if doc.get(at) == Some(&b'}') {
            at += 1;
        } else {
            loop {
                let (member, after_colon) = self.key(object, previous, doc, at)?;
                if seen & 1 << member != 0 {
                    return None;
                }
                seen |= 1 << member;
                let entry = &object.members[member];
                let Target::Node(node) = &entry.target else { return None };
                at = skip_space(doc, after_colon);
                if doc.get(at) == Some(&b'n') {
                    if doc.get(at..at + 4) != Some(b"null") {
                        return None;
                    }
                    push_absent((entry.required, &entry.default), node, set, rep).ok()?;
                    at += 4;
                } else if let NodeKind::Leaf { kind, rules } = &node.kind {
                    // Most members are leaves: here, without a call.
                    let leaf = &mut set.leaves[node.leaves.start];
                    at = self.scalar((kind, rules.as_deref()), doc, at, leaf, rep)?;
                } else {
                    at = self.value(node, doc, at, set, rep)?;
                }
                previous = member;
                match *doc.get(at)? {
                    b',' => at = skip_space(doc, at + 1),
                    b'}' => {
                        at += 1;
                        break;
                    }
                    _ => {
                        at = skip_space(doc, at);
                        match doc.get(at)? {
                            b',' => at = skip_space(doc, at + 1),
                            b'}' => {
                                at += 1;
                                break;
                            }
                            _ => return None,
                        }
                    }
                }
            }
        }
        let all = if first == MAX_MEMBERS { u64::MAX } else { (1 << first) - 1 };
        let mut absent = all & !seen;
        while absent != 0 {
            let member = &object.members[absent.trailing_zeros() as usize];
            let Target::Node(node) = &member.target else { return None };
            push_absent((member.required, &member.default), node, set, rep).ok()?;
            absent &= absent - 1;
        }
        Some(at)
    }

    /// Which member the key at `at` is, and the index behind its colon.
    #[inline]
    fn key(&mut self, object: &Object, previous: usize, doc: &[u8], at: usize) -> Option<(usize, usize)> {
        let steps = &mut self.steps[object.number];
        let head = head(doc, at);
        let mut guess = steps[previous].successor as usize;
        // The predicted one, then those behind it: optional fields come and go.
        for _ in 0..4 {
            let Some(step) = steps.get(guess) else { break };
            if (head ^ step.head) & step.mask == 0 {
                let end = at + step.len;
                let rest =
                    || doc.get(at + HEAD_BYTES..end) == object.members[guess].literal.get(HEAD_BYTES..);
                if step.len <= HEAD_BYTES || rest() {
                    return Some((guess, end));
                }
            }
            guess = step.successor as usize;
        }
        if doc.get(at) != Some(&b'"') {
            return None;
        }
        let end = string_stop(doc, at + 1);
        if doc.get(end) != Some(&b'"') {
            return None;
        }
        let name = std::str::from_utf8(&doc[at + 1..end]).ok()?;
        let member = *object.by_key.get(name)?;
        steps[previous].successor = member as u8;
        let colon = skip_space(doc, end + 1);
        (doc.get(colon) == Some(&b':')).then_some((member, colon + 1))
    }

    /// A value that is not null.
    fn value(&mut self, node: &Node, doc: &[u8], at: usize, set: &mut ColumnSet, rep: u8) -> Option<usize> {
        match &node.kind {
            NodeKind::Leaf { kind, rules } => {
                let leaf = &mut set.leaves[node.leaves.start];
                self.scalar((kind, rules.as_deref()), doc, at, leaf, rep)
            }
            NodeKind::Struct(object) => self.object(object, doc, at, set, rep),
            NodeKind::List(element) => self.list(node, element, doc, at, set, rep),
            NodeKind::Map { key, value } => self.map((node, key, value), doc, at, set, rep),
        }
    }

    /// A string, a number or a boolean.
    #[inline(always)]
    fn scalar(
        &mut self,
        (kind, rules): (&LeafKind, Option<&Rules>),
        doc: &[u8],
        at: usize,
        leaf: &mut LeafColumn,
        rep: u8,
    ) -> Option<usize> {
        match *doc.get(at)? {
            _ if matches!(kind, LeafKind::Json) => None,
            b'"' => {
                let stop = string_stop(doc, at + 1);
                if doc.get(stop) == Some(&b'"') {
                    let text = as_text(&doc[at + 1..stop])?;
                    if rules.is_none() && matches!(kind, LeafKind::Text { max_chars: None }) {
                        leaf.push_bytes(text.as_bytes(), rep);
                    } else {
                        push_text(kind, rules, text, leaf, rep).ok()?;
                    }
                    return Some(stop + 1);
                }
                let end = unescape(doc, at + 1, stop, &mut self.text)?;
                push_text(kind, rules, as_text(&self.text)?, leaf, rep).ok()?;
                Some(end)
            }
            b't' if doc.get(at..at + 4) == Some(b"true") => {
                push_bool(kind, true, leaf, rep).ok()?;
                Some(at + 4)
            }
            b'f' if doc.get(at..at + 5) == Some(b"false") => {
                push_bool(kind, false, leaf, rep).ok()?;
                Some(at + 5)
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(doc, at)?;
                push_number(kind, rules, &doc[at..end], leaf, rep).ok()?;
                Some(end)
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn list(
        &mut self,
        node: &Node,
        element: &Node,
        doc: &[u8],
        at: usize,
        set: &mut ColumnSet,
        mut rep: u8,
    ) -> Option<usize> {
        if doc.get(at) != Some(&b'[') {
            return None;
        }
        let mut at = skip_space(doc, at + 1);
        if doc.get(at) == Some(&b']') {
            set.push_null(node.leaves.clone(), node.def, rep);
            return Some(at + 1);
        }
        loop {
            if doc.get(at..at + 4) == Some(b"null") {
                set.push_null(element.leaves.clone(), element.def - 1, rep);
                at += 4;
            } else {
                at = self.value(element, doc, at, set, rep)?;
            }
            rep = element.rep;
            at = skip_space(doc, at);
            match doc.get(at)? {
                b',' => at = skip_space(doc, at + 1),
                b']' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    #[inline(never)]
    fn map(
        &mut self,
        (node, key, value): (&Node, &Node, &Node),
        doc: &[u8],
        at: usize,
        set: &mut ColumnSet,
        mut rep: u8,
    ) -> Option<usize> {
        if doc.get(at) != Some(&b'{') {
            return None;
        }
        let mut at = skip_space(doc, at + 1);
        if doc.get(at) == Some(&b'}') {
            set.push_null(node.leaves.clone(), node.def, rep);
            return Some(at + 1);
        }
        let NodeKind::Leaf { kind: key_kind, .. } = &key.kind else { return None };
        let mut names = [(0usize, 0usize); MAX_MAP_ENTRIES];
        for entry in 0..MAX_MAP_ENTRIES {
            if doc.get(at) != Some(&b'"') {
                return None;
            }
            let stop = string_stop(doc, at + 1);
            // A key with an escape may equal another one: let the tape compare.
            if doc.get(stop) != Some(&b'"') {
                return None;
            }
            let name = &doc[at + 1..stop];
            if names[..entry].iter().any(|&(start, end)| &doc[start..end] == name) {
                return None;
            }
            names[entry] = (at + 1, stop);
            push_key(key_kind, as_text(name)?, &mut set.leaves[key.leaves.start], rep).ok()?;
            at = skip_space(doc, stop + 1);
            if doc.get(at) != Some(&b':') {
                return None;
            }
            at = skip_space(doc, at + 1);
            if doc.get(at..at + 4) == Some(b"null") {
                set.push_null(value.leaves.clone(), value.def - 1, rep);
                at += 4;
            } else {
                at = self.value(value, doc, at, set, rep)?;
            }
            rep = value.rep;
            at = skip_space(doc, at);
            match doc.get(at)? {
                b',' => at = skip_space(doc, at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
        None
    }
}

/// The bytes between two quotes of valid UTF-8 are valid UTF-8: a quote is never part of a
/// multi-byte character.
#[inline]
fn as_text(bytes: &[u8]) -> Option<&str> {
    debug_assert!(std::str::from_utf8(bytes).is_ok());
    // SAFETY: the caller of `Cursor::decode` has validated the whole document, and the cut points
    // are ASCII bytes; unescaped text is made of valid pieces and encoded characters.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// The bytes from `at` on; zeros behind the end, which no key has.
#[inline]
fn head(doc: &[u8], at: usize) -> u128 {
    let rest = &doc[at.min(doc.len())..];
    let bytes = rest.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; HEAD_BYTES];
        padded[..rest.len()].copy_from_slice(rest);
        padded
    });
    u128::from_le_bytes(bytes)
}

fn prepare(object: &Object, steps: &mut [Vec<Step>], able: &mut bool) {
    *able &= object.members.len() <= MAX_MEMBERS;
    // Before anything is learned, the table's own order.
    let members = object.members.iter().zip(1..).map(|(member, next)| Step::new(&member.literal, next));
    steps[object.number] = members.chain([Step::before_all()]).collect();
    for member in &object.members {
        match &member.target {
            Target::Node(node) => prepare_node(node, steps, able),
            Target::Inside { .. } => *able = false,
        }
    }
}

fn prepare_node(node: &Node, steps: &mut [Vec<Step>], able: &mut bool) {
    match &node.kind {
        NodeKind::Leaf { .. } => {}
        NodeKind::Struct(object) => prepare(object, steps, able),
        NodeKind::List(element) => prepare_node(element, steps, able),
        NodeKind::Map { value, .. } => prepare_node(value, steps, able),
    }
}
