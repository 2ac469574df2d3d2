//! The median of the pairs' ratios, and how far it can be trusted.
//!
//! The interval is the distribution-free one of the median, from order statistics: with the ratios in order,
//! the median of what they were drawn from lies outside of the `k`-th lowest and the `k`-th highest with a
//! probability of `2 · P(B ≤ k - 1)`, where `B` is binomial with one half. `k` is the largest for which that is
//! at most 5 %. Nothing is assumed of the noise but that pairs are independent of each other.
//! Source: H. A. David and H. N. Nagaraja, *Order Statistics*, third edition, section 7.1; the same as the
//! quantile test in W. J. Conover, *Practical Nonparametric Statistics*, third edition, section 3.2.

/// One of so many may lie outside of the interval: 5 %.
const OUTSIDE_ONE_IN: u128 = 20;
/// Past this the binomial no longer fits into its integer.
pub(super) const PAIRS_MAX: u32 = 100;

/// Where the ratios lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    pub(super) pairs: usize,
    pub(super) median: f64,
    /// At 95 % or more; none for fewer than six pairs, which cannot give one.
    pub(super) interval: Option<(f64, f64)>,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// None without a ratio.
    pub(super) fn of(mut ratios: Vec<f64>) -> Option<Self> {
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (*ratios.first()?, *ratios.last()?);
        let pairs = ratios.len();
        let interval = rank(u32::try_from(pairs).ok()?).map(|rank| {
            let rank = rank as usize;
            (ratios[rank - 1], ratios[pairs - rank])
        });
        Some(Self { pairs, median: median(&ratios), interval, least, most })
    }
}

/// The middle one of figures in order; of an even number the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(low, high)
}

/// Which lowest and which highest of `pairs` ratios bound the interval, counted from 1.
/// None for fewer than six pairs and for more than [`PAIRS_MAX`].
fn rank(pairs: u32) -> Option<u32> {
    if pairs > PAIRS_MAX {
        return None;
    }
    let all = 1_u128 << pairs;
    let (mut ways, mut below, mut rank) = (1_u128, 0_u128, 0);
    // `ways` of all outcomes have exactly `rank` ratios below the median, and `below` have fewer.
    while rank < pairs {
        below += ways;
        if below * 2 * OUTSIDE_ONE_IN > all {
            break;
        }
        ways = ways * u128::from(pairs - rank) / u128::from(rank + 1);
        rank += 1;
    }
    (rank > 0).then_some(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_are_those_of_the_published_tables() {
        // Conover's table A3 and any table of the sign test at 5 %, two-sided.
        for (pairs, expected) in [
            (1, None),
            (5, None),
            (6, Some(1)),
            (8, Some(1)),
            (9, Some(2)),
            (10, Some(2)),
            (12, Some(3)),
            (15, Some(4)),
            (20, Some(6)),
            (25, Some(8)),
            (30, Some(10)),
            (50, Some(18)),
            (100, Some(40)),
            (101, None),
        ] {
            assert_eq!(rank(pairs), expected, "{pairs} pairs");
        }
    }

    #[test]
    fn fifteen_pairs_are_bounded_by_the_fourth_from_either_end() {
        let ratios = (1..=15).rev().map(f64::from).collect();
        let expected =
            Spread { pairs: 15, median: 8.0, interval: Some((4.0, 12.0)), least: 1.0, most: 15.0 };
        assert_eq!(Spread::of(ratios), Some(expected));
    }

    #[test]
    fn an_even_number_has_the_mean_of_its_middle_as_median() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.interval), (2.5, None));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
