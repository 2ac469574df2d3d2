//! How long a component that failed waits before it starts again.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Bounds of the pauses before a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The pause after a first failure, at most.
    pub pause_min: Duration,
    /// The longest pause. Pauses double until then.
    pub pause_max: Duration,
    /// A component that has worked for this long has not failed in a row.
    pub steady_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pause_min: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
            steady_after: Duration::from_secs(60),
        }
    }
}

/// Draws the pauses of one component.
#[derive(Debug)]
pub(crate) struct Pauses {
    options: Options,
    rng: Xoshiro256PlusPlus,
    failures: u32,
}

impl Pauses {
    pub(crate) fn new(options: Options, seed: u64) -> Self {
        Self { options, rng: Xoshiro256PlusPlus::seed_from_u64(seed), failures: 0 }
    }

    /// The component failed after it had worked for this long. Returns the pause, and how often the
    /// component has failed in a row. A pause is at least half of its bound, so that several processes
    /// do not start again together.
    pub(crate) fn after(&mut self, worked: Duration) -> (Duration, u32) {
        if worked >= self.options.steady_after {
            self.failures = 0;
        }
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let most = self.options.pause_min.saturating_mul(1 << doublings);
        let most = most.min(self.options.pause_max);
        let share = self.rng.random_range(0.5..=1.0);
        (most.mul_f64(share), self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound_and_begin_again_after_steady_work() {
        let mut pauses = Pauses::new(Options::default(), 7);
        let mut check = |worked_s, most_ms, failures| {
            let (pause, in_a_row) = pauses.after(Duration::from_secs(worked_s));
            assert!((most_ms / 2..=most_ms).contains(&pause.as_millis()), "{pause:?}");
            assert_eq!(in_a_row, failures);
        };
        for (failures, most_ms) in
            (1..).zip([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
        {
            check(1, most_ms, failures);
        }
        check(60, 500, 1);
    }
}
