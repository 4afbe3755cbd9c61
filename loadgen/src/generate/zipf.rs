//! Skewed choices in constant time: the alias method (Walker 1977, Vose 1991) over Zipf weights.

use super::random::Draws;

/// Ranks 0..n, rank k with weight 1 / (k + 1)^s.
#[derive(Debug, Clone)]
pub(super) struct Zipf {
    /// Out of 2^32: draw below it and the rank itself is taken, else its alias.
    cells: Vec<(u32, u32)>,
}

impl Zipf {
    /// `ranks` ranks (at least one) of exponent `s`.
    pub(super) fn new(ranks: u32, s: f64) -> Self {
        let weights: Vec<f64> = (1..=ranks.max(1)).map(|k| f64::from(k).powf(-s)).collect();
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.iter().map(|w| w * scale).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..shares.len()).partition(|&rank| shares[rank] < 1.0);
        let mut cells = vec![(u32::MAX, 0); shares.len()];
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            cells[low] = ((shares[low] * f64::from(u32::MAX)) as u32, high as u32);
            shares[high] -= 1.0 - shares[low];
            if shares[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        // What is left is 1 up to rounding, and is its own alias.
        for (rank, cell) in cells.iter_mut().enumerate() {
            if cell.0 == u32::MAX {
                cell.1 = rank as u32;
            }
        }
        Self { cells }
    }

    /// A rank.
    #[inline]
    pub(super) fn draw(&self, draws: &mut Draws) -> u32 {
        let bits = draws.bits();
        let rank = (((bits >> 32) * self.cells.len() as u64) >> 32) as u32;
        let (threshold, alias) = self.cells[rank as usize];
        if (bits as u32) <= threshold { rank } else { alias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_as_often_as_their_weights_say() {
        let (ranks, s, count) = (50u32, 1.1, 2_000_000u32);
        let zipf = Zipf::new(ranks, s);
        let mut draws = Draws::new(3);
        let mut found = vec![0u32; ranks as usize];
        for _ in 0..count {
            found[zipf.draw(&mut draws) as usize] += 1;
        }
        let total: f64 = (1..=ranks).map(|k| f64::from(k).powf(-s)).sum();
        for (rank, &found) in found.iter().enumerate() {
            let expected = f64::from(count) * ((rank + 1) as f64).powf(-s) / total;
            // Six standard deviations.
            assert!(
                (f64::from(found) - expected).abs() < 6.0 * expected.sqrt(),
                "rank {rank}: {found}, {expected}"
            );
        }
    }
}
