//! The predictive cursor: reads the shape it expects straight into the columns and gives up on
//! anything else. Giving up costs nothing but time: the caller takes the row back and asks the
//! tape. Whatever it accepts, it accepts as the tape would (a property test and the fuzzer hold
//! that). Input must be valid UTF-8.

use std::cell::RefCell;

use crate::columns::{ColumnSet, Headed, LeafColumn};
use crate::number;
use crate::scan::{number_end, skip_space, string_stop, unescape};

use super::plan::{LeafKind, Node, NodeKind, Object, Plan, Rules, Target};
use super::step::{Shape, Step, key};
use super::tape::push_absent;
use super::value::{push_any_number, push_bool, push_headed, push_key, push_short, push_text};

/// Members of an object that the cursor tracks in one word.
const MAX_MEMBERS: usize = 64;
/// Map entries compared pairwise for duplicates; more go to the tape.
const MAX_MAP_ENTRIES: usize = 16;

/// Learned order of members, and scratch space.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// For each object of the plan, by its number, its members, and last what comes before the first.
    objects: Vec<Vec<Step>>,
    text: RefCell<Vec<u8>>,
    able: bool,
}

impl Cursor {
    pub(crate) fn new(plan: &Plan) -> Self {
        let objects = std::iter::repeat_with(Vec::new).take(plan.objects).collect();
        let mut cursor = Self { objects, text: RefCell::default(), able: plan.direct };
        cursor.prepare(&plan.root);
        cursor
    }

    fn prepare(&mut self, object: &Object) {
        let count = object.members.len();
        if count > MAX_MEMBERS {
            self.able = false;
            return;
        }
        // Before anything is learned, the table's own order.
        let members = object.members.iter().enumerate();
        let steps = members.map(|(number, member)| Step::new(number, member));
        self.objects[object.number] = steps.chain([Step::before_all(count)]).collect();
        for member in &object.members {
            match &member.target {
                Target::Node(node) => self.prepare_node(node),
                Target::Inside { .. } => self.able = false,
            }
        }
    }

    fn prepare_node(&mut self, node: &Node) {
        match &node.kind {
            NodeKind::Leaf { .. } => {}
            NodeKind::Struct(object) => self.prepare(object),
            NodeKind::List(element) => self.prepare_node(element),
            NodeKind::Map { value, .. } => self.prepare_node(value),
        }
    }

    /// Decode one document into `set`. `false`: not what was expected, or not a good row; `set` may
    /// hold part of it.
    #[inline]
    pub(crate) fn decode(&self, plan: &Plan, doc: &[u8], set: &mut ColumnSet) -> bool {
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
        &self,
        object: &Object,
        doc: &[u8],
        mut at: usize,
        set: &mut ColumnSet,
        rep: u8,
    ) -> Option<usize> {
        if doc.get(at) != Some(&b'{') {
            return None;
        }
        let steps = self.objects.get(object.number)?.as_slice();
        let mut before = steps.last()?;
        let mut seen = 0;
        at = behind_space(doc, at + 1);
        if doc.get(at) == Some(&b'}') {
            at += 1;
        } else {
            loop {
                let step;
                (step, at) = key(object, steps, before, doc, at)?;
                if seen & step.bit != 0 {
                    return None;
                }
                seen |= step.bit;
                before = step;
                at = behind_space(doc, at);
                let first = *doc.get(at)?;
                at = if first == b'"' && step.shape != Shape::Other {
                    let stop = string_stop(doc, at + 1);
                    let leaf = set.leaves.get_mut(step.leaf as usize)?;
                    if doc.get(stop) != Some(&b'"') {
                        self.escaped(scalar_of(object, step)?, doc, (at + 1, stop), leaf, rep)?
                    } else if step.shape == Shape::Text {
                        let text = Headed::in_doc(doc, at + 1..stop);
                        leaf.push_headed(text.bytes(), text.head(), rep);
                        stop + 1
                    } else {
                        text(scalar_of(object, step)?, Headed::in_doc(doc, at + 1..stop), leaf, rep)?;
                        stop + 1
                    }
                } else if step.shape == Shape::Scalar && matches!(first, b'0'..=b'9' | b'-') {
                    let leaf = set.leaves.get_mut(step.leaf as usize)?;
                    number(scalar_of(object, step)?, doc, at, leaf, rep)?
                } else {
                    self.rare(object, step, doc, at, set, rep)?
                };
                at = behind_space(doc, at);
                match doc.get(at)? {
                    b',' => at = behind_space(doc, at + 1),
                    b'}' => {
                        at += 1;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        let all = steps.last()?.number;
        let mut absent = !seen & 1_u64.checked_shl(all.into()).unwrap_or(0).wrapping_sub(1);
        while absent != 0 {
            push_nothing(object, absent.trailing_zeros() as usize, set, rep)?;
            absent &= absent - 1;
        }
        Some(at)
    }

    /// The value of a member that is null, a boolean or not a scalar.
    #[inline(never)]
    fn rare(
        &self,
        object: &Object,
        step: &Step,
        doc: &[u8],
        at: usize,
        set: &mut ColumnSet,
        rep: u8,
    ) -> Option<usize> {
        let member = usize::from(step.number);
        if doc[at..].starts_with(b"null") {
            push_nothing(object, member, set, rep)?;
            return Some(at + 4);
        }
        let Target::Node(node) = &object.members[member].target else { return None };
        self.value(node, doc, at, set, rep)
    }

    /// A value that is not null.
    fn value(&self, node: &Node, doc: &[u8], at: usize, set: &mut ColumnSet, rep: u8) -> Option<usize> {
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
    #[inline]
    fn scalar(
        &self,
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
                if doc.get(stop) != Some(&b'"') {
                    return self.escaped((kind, rules), doc, (at + 1, stop), leaf, rep);
                }
                text((kind, rules), Headed::in_doc(doc, at + 1..stop), leaf, rep)?;
                Some(stop + 1)
            }
            b't' if doc.get(at..at + 4) == Some(b"true") => {
                push_bool(kind, true, leaf, rep).ok()?;
                Some(at + 4)
            }
            b'f' if doc.get(at..at + 5) == Some(b"false") => {
                push_bool(kind, false, leaf, rep).ok()?;
                Some(at + 5)
            }
            b'-' | b'0'..=b'9' => number((kind, rules), doc, at, leaf, rep),
            _ => None,
        }
    }

    /// A string with a backslash, or none.
    #[inline(never)]
    fn escaped(
        &self,
        (kind, rules): (&LeafKind, Option<&Rules>),
        doc: &[u8],
        (at, stop): (usize, usize),
        leaf: &mut LeafColumn,
        rep: u8,
    ) -> Option<usize> {
        let mut unescaped = self.text.borrow_mut();
        let end = unescape(doc, at, stop, &mut unescaped)?;
        push_text(kind, rules, as_text(&unescaped)?, leaf, rep).ok()?;
        Some(end)
    }

    #[inline(never)]
    fn list(
        &self,
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
        &self,
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

/// [`skip_space`], where most likely there is none.
#[inline(always)]
fn behind_space(doc: &[u8], at: usize) -> usize {
    match doc.get(at) {
        Some(b) if *b <= b' ' => skip_space(doc, at),
        _ => at,
    }
}

/// What the member takes, if it is a scalar.
#[inline(always)]
fn scalar_of<'o>(object: &'o Object, step: &Step) -> Option<(&'o LeafKind, Option<&'o Rules>)> {
    match &object.members.get(usize::from(step.number))?.target {
        Target::Node(Node { kind: NodeKind::Leaf { kind, rules }, .. }) => Some((kind, rules.as_deref())),
        _ => None,
    }
}

#[inline(always)]
fn text(
    (kind, rules): (&LeafKind, Option<&Rules>),
    text: Headed<'_>,
    leaf: &mut LeafColumn,
    rep: u8,
) -> Option<()> {
    push_headed(kind, rules, (as_text(text.bytes())?, text), leaf, rep).ok()
}

#[inline(never)]
fn number(
    (kind, rules): (&LeafKind, Option<&Rules>),
    doc: &[u8],
    at: usize,
    leaf: &mut LeafColumn,
    rep: u8,
) -> Option<usize> {
    if let Some(short) = number::short(doc, at)
        && push_short(kind, rules, short, &doc[at..short.end], leaf, rep).ok()?
    {
        return Some(short.end);
    }
    let end = number_end(doc, at)?;
    push_any_number(kind, rules, &doc[at..end], leaf, rep).ok()?;
    Some(end)
}

/// A member that is null or not there.
#[inline]
fn push_nothing(object: &Object, member: usize, set: &mut ColumnSet, rep: u8) -> Option<()> {
    let member = &object.members[member];
    let Target::Node(node) = &member.target else { return None };
    push_absent((member.required, &member.default), node, set, rep).ok()
}
