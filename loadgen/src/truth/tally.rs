//! How often each event was met, in a byte an event: two counts up to three, and whether it was met
//! in a closed partition.

const BLOCK: u64 = 1 << 16;

/// Counts by number; blocks that nothing was met of take no memory.
#[derive(Debug, Default)]
pub(super) struct Tally {
    blocks: Vec<Option<Box<[u8]>>>,
    any_closed: bool,
}

impl Tally {
    pub(super) fn row(&mut self, number: u64, closed: bool) {
        self.any_closed |= closed;
        let cell = self.cell(number);
        *cell = (*cell & 3).saturating_add(1).min(3) | *cell & !3 | u8::from(closed) << 4;
    }

    pub(super) fn letter(&mut self, number: u64) {
        let cell = self.cell(number);
        *cell = ((*cell >> 2 & 3) + 1).min(3) << 2 | *cell & !12;
    }

    pub(super) fn rows(&self, number: u64) -> u8 {
        self.get(number) & 3
    }

    pub(super) fn letters(&self, number: u64) -> u8 {
        self.get(number) >> 2 & 3
    }

    pub(super) fn in_closed(&self, number: u64) -> bool {
        self.get(number) & 16 != 0
    }

    pub(super) fn any_closed(&self) -> bool {
        self.any_closed
    }

    pub(super) fn end(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK
    }

    fn get(&self, number: u64) -> u8 {
        let block = self.blocks.get((number / BLOCK) as usize).and_then(Option::as_ref);
        block.map_or(0, |block| block[(number % BLOCK) as usize])
    }

    fn cell(&mut self, number: u64) -> &mut u8 {
        // Numbers of a run are dense; one far out is a foreign text that looks like a stamp.
        let at = (number / BLOCK).min(1 << 24) as usize;
        if self.blocks.len() <= at {
            self.blocks.resize_with(at + 1, || None);
        }
        let block = self.blocks[at].get_or_insert_with(|| vec![0; BLOCK as usize].into_boxed_slice());
        &mut block[(number % BLOCK) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_letters_are_counted_apart() {
        let mut tally = Tally::default();
        for number in [5, 5, 5, 5, 70_000] {
            tally.row(number, number == 5);
        }
        tally.letter(5);
        tally.letter(6);
        assert_eq!((tally.rows(5), tally.letters(5), tally.in_closed(5)), (3, 1, true));
        assert_eq!((tally.rows(6), tally.letters(6), tally.rows(70_000)), (0, 1, 1));
        assert_eq!(tally.rows(1 << 40), 0);
        assert!(tally.any_closed() && !tally.in_closed(70_000));
    }
}
