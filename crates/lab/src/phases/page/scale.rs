//! From figures to places on paper.

/// Gridlines at round figures from 0 to at least `max`: about four of them.
pub(super) fn ticks(max: f64) -> Vec<f64> {
    let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
    let rough = max / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().map(|step| step * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let count = (max / step * 0.999).ceil();
    (0_u8..=10).map(f64::from).take_while(|n| *n <= count).map(|n| n * step).collect()
}

/// A scale on which each step of equal height is ten times the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decades {
    low: i32,
    high: i32,
}

/// The smallest and the largest power of ten shown: a thousandth of a unit to a million units.
const POWERS: (i32, i32) = (-3, 6);

impl Decades {
    /// From the power of ten below the least of `values` to the one above the greatest, such that
    /// even the least has some height. Values that are not above 0 have no place and are passed over.
    pub(super) fn around(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (POWERS.1, POWERS.0);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            for power in POWERS.0..=POWERS.1 {
                if 10_f64.powi(power) * 1.5 <= value && power + 1 > high {
                    high = power + 1;
                }
            }
            let below =
                (POWERS.0..=POWERS.1).rev().find(|power| 10_f64.powi(*power) * 1.2 <= value);
            low = low.min(below.unwrap_or(POWERS.0));
        }
        let low = low.min(POWERS.1 - 1);
        Self { low, high: high.clamp(low + 1, POWERS.1) }
    }

    /// The powers of ten on the scale, from the lowest.
    pub(super) fn ticks(self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| 10_f64.powi(power))
    }

    /// Where `value` lies: 0.0 at the bottom, 1.0 at the top; what is off the scale lies at its end.
    pub(super) fn place(self, value: f64) -> f64 {
        let span = f64::from(self.high - self.low);
        let place = (value.max(f64::MIN_POSITIVE).log10() - f64::from(self.low)) / span;
        place.clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gridlines_are_round_and_reach_the_greatest() {
        let check = |max, expected: &[f64]| assert_eq!(ticks(max), expected, "{max}");
        check(17_480.0, &[0.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0]);
        check(2.0, &[0.0, 0.5, 1.0, 1.5, 2.0]);
        check(100.0, &[0.0, 25.0, 50.0, 75.0, 100.0]);
        check(0.0, &[0.0, 0.25, 0.5, 0.75, 1.0]);
        for n in 1..5_000 {
            let max = f64::from(n) * 0.37;
            let ticks = ticks(max);
            assert!(*ticks.last().unwrap() >= max * 0.998 && ticks.len() <= 6, "{max}: {ticks:?}");
        }
    }

    #[test]
    fn decades_hold_everything_and_give_the_least_some_height() {
        let scale = Decades::around([0.3, 80.0, 0.0, f64::NAN].into_iter());
        assert_eq!(scale.ticks().collect::<Vec<_>>(), [0.1, 1.0, 10.0, 100.0]);
        assert!((scale.place(10.0) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!((scale.place(0.0), scale.place(1e9)), (0.0, 1.0));
        let edge = Decades::around([1.0, 100.0].into_iter());
        assert!(edge.place(1.0) > 0.0 && edge.place(100.0) <= 1.0, "{edge:?}");
    }

    #[test]
    fn a_scale_without_values_is_one_all_the_same() {
        for values in [vec![], vec![0.0], vec![1e-9], vec![1e12]] {
            let scale = Decades::around(values.iter().copied());
            assert!(scale.ticks().count() >= 2, "{values:?}: {scale:?}");
        }
    }
}
