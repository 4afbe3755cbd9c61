//! Numbers from a seed (xorshift64*). Each step of a run has a generator of its own, so that a step
//! can be left out and those after it still draw what they drew.

#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The generator of one purpose under one seed.
    pub(crate) fn of(seed: u64, purpose: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut random = Self((mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
