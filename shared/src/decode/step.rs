//! The members of an object as the cursor looks for them, and the order in which they come.

use std::cell::Cell;

use crate::scan::{HEAD_BYTES, head, keep, skip_space, string_stop};

use super::plan::{LeafKind, Member, Node, NodeKind, Object, Target};

/// Members tried at a key behind the expected one, before it is looked up: optional fields come and go.
const MORE_GUESSES: usize = 3;

/// What the cursor does with a member's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A string is pushed as it is.
    Text,
    /// Any other scalar.
    Scalar,
    /// An object, a list or a map; or JSON text, which the tape keeps.
    Other,
}

/// A member as the cursor looks for it: side by side in memory, so that no pointer has to be followed
/// from one key to the next.
#[derive(Debug)]
pub(super) struct Step {
    /// The first bytes of `"key":`, in memory order, and which of them count.
    head: u128,
    mask: u128,
    /// Bytes of `"key":`.
    len: u32,
    /// First leaf of its value.
    pub(super) leaf: u32,
    /// Its bit among the object's members.
    pub(super) bit: u64,
    pub(super) number: u8,
    pub(super) shape: Shape,
    /// Which member came after this one last time.
    successor: Cell<u8>,
}

impl Step {
    pub(super) fn new(number: usize, member: &Member) -> Self {
        let (shape, leaf) = match &member.target {
            Target::Node(Node { kind: NodeKind::Leaf { kind, rules }, leaves, .. })
                if !matches!(kind, LeafKind::Json) =>
            {
                let plain = matches!(kind, LeafKind::Text { max_chars: None }) && rules.is_none();
                (if plain { Shape::Text } else { Shape::Scalar }, leaves.start)
            }
            _ => (Shape::Other, 0),
        };
        let literal = &member.literal;
        Self {
            head: head(literal, 0),
            mask: keep(literal.len()),
            len: literal.len() as u32,
            leaf: leaf as u32,
            bit: 1_u64.checked_shl(number as u32).unwrap_or(0),
            number: number as u8,
            shape,
            successor: Cell::new(number as u8 + 1),
        }
    }

    /// What comes before the first member of `count`. No UTF-8 is this; who gets here behind the last
    /// member goes on with the first.
    pub(super) fn before_all(count: usize) -> Self {
        Self {
            head: !0,
            mask: !0,
            len: 0,
            leaf: 0,
            bit: 0,
            number: count as u8,
            shape: Shape::Other,
            successor: Cell::new(0),
        }
    }

    /// The index behind the member's key and colon, if they stand at `at`, where `head` begins.
    #[inline(always)]
    fn end(&self, object: &Object, head: u128, doc: &[u8], at: usize) -> Option<usize> {
        let stands = (head ^ self.head) & self.mask == 0
            && (self.len <= HEAD_BYTES as u32 || rest_is(object, self, doc, at));
        stands.then_some(at + self.len as usize)
    }
}

/// Which member the key at `at` is, most likely the successor of the one `before`, and the index behind
/// its colon.
#[inline(always)]
pub(super) fn key<'s>(
    object: &Object,
    steps: &'s [Step],
    before: &'s Step,
    doc: &[u8],
    at: usize,
) -> Option<(&'s Step, usize)> {
    let step = steps.get(usize::from(before.successor.get()))?;
    if let Some(end) = step.end(object, head(doc, at), doc, at) {
        return Some((step, end));
    }
    other_key(object, steps, before, doc, at)
}

/// The same where the member that came last time does not come.
#[inline(never)]
fn other_key<'s>(
    object: &Object,
    steps: &'s [Step],
    before: &'s Step,
    doc: &[u8],
    at: usize,
) -> Option<(&'s Step, usize)> {
    let head = head(doc, at);
    let mut step = steps.get(usize::from(before.successor.get()))?;
    for _ in 0..MORE_GUESSES {
        step = steps.get(usize::from(step.successor.get()))?;
        if let Some(end) = step.end(object, head, doc, at) {
            return Some((step, end));
        }
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
    before.successor.set(member as u8);
    let colon = skip_space(doc, end + 1);
    (doc.get(colon) == Some(&b':')).then_some((steps.get(member)?, colon + 1))
}

/// Whether the member's key goes on behind its head as at `at`.
#[inline(never)]
fn rest_is(object: &Object, step: &Step, doc: &[u8], at: usize) -> bool {
    let rest = object.members[usize::from(step.number)].literal.get(HEAD_BYTES..).unwrap_or_default();
    doc.get(at + HEAD_BYTES..).is_some_and(|doc| doc.starts_with(rest))
}
