//! What became of each event at the target, in two bits an event: a block of events that were all
//! acknowledged as they should be takes none, so memory stays flat over a long run.

use std::collections::HashMap;

/// Events a block.
const BLOCK: u64 = 1 << 16;

/// What is known of an event's puts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Sent {
    /// Not sent, or definitely not taken
    Not = 0,
    /// Acknowledged as often as it was to be sent, and nothing else can be stored
    Acknowledged = 1,
    /// Acknowledged, and a put without an answer may have stored it once more
    AcknowledgedPerhapsTwice = 2,
    /// Only puts without an answer: it may be stored
    Unknown = 3,
}

#[derive(Debug)]
enum Block {
    Whole,
    Mixed { states: Box<[u8]>, acknowledged: u64 },
}

/// States of all events of a run by number.
#[derive(Debug, Default)]
pub struct Ledger {
    blocks: Vec<Option<Block>>,
    /// Events that are sent twice, of which one copy has an answer.
    halves: HashMap<u64, Sent>,
}

impl Ledger {
    /// Note the outcome of an event that is sent once.
    pub fn note(&mut self, number: u64, sent: Sent) {
        let (block, at) = ((number / BLOCK) as usize, (number % BLOCK) as usize);
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, || None);
        }
        let slot = self.blocks[block].get_or_insert_with(|| Block::Mixed {
            states: vec![0; BLOCK as usize / 4].into_boxed_slice(),
            acknowledged: 0,
        });
        let Block::Mixed { states, acknowledged } = slot else { return };
        let shift = at % 4 * 2;
        let before = states[at / 4] >> shift & 3;
        states[at / 4] = states[at / 4] & !(3 << shift) | (sent as u8) << shift;
        *acknowledged += u64::from(sent == Sent::Acknowledged);
        *acknowledged -= u64::from(before == Sent::Acknowledged as u8);
        if *acknowledged == BLOCK {
            *slot = Block::Whole;
        }
    }

    /// Note the outcome of one of an event's two copies.
    pub fn note_copy(&mut self, number: u64, sent: Sent) {
        let Some(first) = self.halves.remove(&number) else {
            self.halves.insert(number, sent);
            return;
        };
        let both = match (first, sent) {
            (Sent::Acknowledged, Sent::Acknowledged) => Sent::Acknowledged,
            (Sent::Not, Sent::Not) => Sent::Not,
            (Sent::Unknown | Sent::Not, Sent::Unknown | Sent::Not) => Sent::Unknown,
            _ => Sent::AcknowledgedPerhapsTwice,
        };
        self.note(number, both);
    }

    /// Call when nothing more is under way: copies without their second count as unsure.
    pub fn close(&mut self) {
        for (number, sent) in std::mem::take(&mut self.halves) {
            let sent = match sent {
                Sent::Acknowledged => Sent::AcknowledgedPerhapsTwice,
                other => other,
            };
            self.note(number, sent);
        }
    }

    /// What is known of an event.
    pub fn of(&self, number: u64) -> Sent {
        match self.blocks.get((number / BLOCK) as usize) {
            Some(Some(Block::Whole)) => Sent::Acknowledged,
            Some(Some(Block::Mixed { states, .. })) => {
                let at = (number % BLOCK) as usize;
                match states[at / 4] >> (at % 4 * 2) & 3 {
                    1 => Sent::Acknowledged,
                    2 => Sent::AcknowledgedPerhapsTwice,
                    3 => Sent::Unknown,
                    _ => Sent::Not,
                }
            }
            _ => Sent::Not,
        }
    }

    /// One more than the largest number that anything is known of, rounded up to a block.
    pub fn end(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK
    }

    /// The states as runs of equal ones: state and count.
    pub fn runs(&self) -> Vec<(u8, u64)> {
        let mut runs: Vec<(u8, u64)> = Vec::new();
        let mut add = |state: u8, count: u64| match runs.last_mut() {
            Some((last, n)) if *last == state => *n += count,
            _ => runs.push((state, count)),
        };
        for block in &self.blocks {
            match block {
                None => add(0, BLOCK),
                Some(Block::Whole) => add(Sent::Acknowledged as u8, BLOCK),
                Some(Block::Mixed { states, .. }) => {
                    states.iter().for_each(|four| (0..4).for_each(|at| add(four >> (at * 2) & 3, 1)));
                }
            }
        }
        runs
    }

    /// The ledger that [`Self::runs`] was taken of.
    pub fn of_runs(runs: &[(u8, u64)]) -> Self {
        let (mut ledger, mut number) = (Self::default(), 0);
        for &(state, count) in runs {
            let sent = [Sent::Not, Sent::Acknowledged, Sent::AcknowledgedPerhapsTwice, Sent::Unknown];
            for number in number..number + count {
                if state != 0 {
                    ledger.note(number, sent[usize::from(state & 3)]);
                }
            }
            number += count;
        }
        ledger
    }

    /// Bytes held for states.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.blocks
            .iter()
            .flatten()
            .map(|b| if let Block::Mixed { states, .. } = b { states.len() } else { 0 })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_whole_take_no_memory_and_exceptions_are_kept() {
        let mut ledger = Ledger::default();
        let count = 5_000_000;
        let odd = |n: u64| n % 1_000_003 == 7;
        for number in 0..count {
            ledger.note(number, if odd(number) { Sent::Unknown } else { Sent::Acknowledged });
        }
        assert!(ledger.bytes() <= 7 * (BLOCK as usize / 4), "{} bytes", ledger.bytes());
        for number in 0..count {
            let expected = if odd(number) { Sent::Unknown } else { Sent::Acknowledged };
            assert_eq!(ledger.of(number), expected, "{number}");
        }
        assert_eq!(ledger.of(count + BLOCK), Sent::Not);
        let again = Ledger::of_runs(&ledger.runs());
        assert_eq!(again.runs(), ledger.runs());
        assert_eq!(again.of(7), Sent::Unknown);
    }

    #[test]
    fn two_copies_are_one_event() {
        let pairs = [
            (Sent::Acknowledged, Sent::Acknowledged, Sent::Acknowledged),
            (Sent::Acknowledged, Sent::Unknown, Sent::AcknowledgedPerhapsTwice),
            (Sent::Not, Sent::Acknowledged, Sent::AcknowledgedPerhapsTwice),
            (Sent::Not, Sent::Not, Sent::Not),
            (Sent::Not, Sent::Unknown, Sent::Unknown),
        ];
        for (number, (a, b, expected)) in (0..).zip(pairs) {
            let mut ledger = Ledger::default();
            ledger.note_copy(number, a);
            ledger.note_copy(number, b);
            assert_eq!(ledger.of(number), expected, "{a:?} {b:?}");
        }
        let mut ledger = Ledger::default();
        ledger.note_copy(3, Sent::Acknowledged);
        ledger.close();
        assert_eq!(ledger.of(3), Sent::AcknowledgedPerhapsTwice);
    }
}
