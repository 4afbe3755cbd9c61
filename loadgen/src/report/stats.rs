//! Order statistics of small samples: median, spread, and whether two samples differ by more than
//! their noise.

/// The value below which a share `q` of the values lies (nearest rank); 0 of none.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Median.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Mann-Whitney's U as the number of standard deviations by which `b` lies above `a` (ties
/// corrected; normal approximation, fit for eight values and more on each side). None where a side
/// has fewer or all values are equal.
///
/// Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than
/// the other", 1947.
pub fn rank_z(a: &[f64], b: &[f64]) -> Option<f64> {
    const LEAST: usize = 8;
    if a.len() < LEAST || b.len() < LEAST {
        return None;
    }
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|v| (*v, false)).chain(b.iter().map(|v| (*v, true))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut rank_sum, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let equal = all[at..].iter().take_while(|v| v.0 == all[at].0).count();
        let rank = at as f64 + (equal as f64 + 1.0) / 2.0;
        rank_sum += rank * all[at..at + equal].iter().filter(|v| v.1).count() as f64;
        ties += (equal as f64).powi(3) - equal as f64;
        at += equal;
    }
    let u = rank_sum - m * (m + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    (variance > 0.0).then(|| (u - n * m / 2.0) / variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let values = [3.0, 1.0, 2.0, 4.0];
        for (q, expected) in [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)] {
            assert_eq!(quantile(&values, q), expected, "{q}");
        }
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn ranks_tell_a_shift_from_noise() {
        let wave = |shift: f64| -> Vec<f64> { (0..40).map(|i| f64::from(i * 7 % 10) + shift).collect() };
        assert_eq!(rank_z(&wave(0.0), &wave(0.0)), Some(0.0));
        assert!(rank_z(&wave(0.0), &wave(4.0)).unwrap() > 4.0);
        assert!(rank_z(&wave(4.0), &wave(0.0)).unwrap() < -4.0);
        assert!(rank_z(&wave(0.0), &wave(0.1)).unwrap().abs() < 2.0);
        assert_eq!(rank_z(&[1.0; 40], &[1.0; 40]), None);
        assert_eq!(rank_z(&[1.0; 3], &[2.0; 40]), None);
    }

    #[test]
    fn the_statistic_is_the_one_of_the_books() {
        // Without ties U is the number of pairs with b above a; variance n m (n + m + 1) / 12.
        let a: Vec<f64> = (0..10).map(f64::from).collect();
        let b: Vec<f64> = (0..8).map(|i| f64::from(i) + 4.5).collect();
        let pairs = b.iter().flat_map(|y| a.iter().map(move |x| f64::from(u8::from(y > x)))).sum::<f64>();
        let expected = (pairs - 40.0) / (80.0 * 19.0 / 12.0f64).sqrt();
        assert!((rank_z(&a, &b).unwrap() - expected).abs() < 1e-12);
    }
}
