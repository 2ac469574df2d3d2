//! How long to wait before trying again: exponential, with full jitter.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::Options;

/// Draws waits. Each lane has one, with a seed of its own, so that lanes which failed together do
/// not come back together.
pub(crate) struct Backoff {
    rng: Xoshiro256PlusPlus,
    min_ms: u64,
    max_ms: u64,
}

impl Backoff {
    pub(crate) fn new(options: &Options, seed: u64) -> Self {
        Self::between(options.backoff_min_ms, options.backoff_max_ms, seed)
    }

    pub(crate) fn between(min_ms: u64, max_ms: u64, seed: u64) -> Self {
        Self { rng: Xoshiro256PlusPlus::seed_from_u64(seed), min_ms, max_ms }
    }

    /// A wait of 0 to `backoff_min × 2^(failures - 1)`, and never more than `backoff_max`.
    pub(crate) fn after(&mut self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let most_ms = self.min_ms.saturating_mul(1 << doublings).min(self.max_ms);
        Duration::from_millis(self.rng.random_range(0..=most_ms))
    }
}

/// Whether this many failures in a row are worth a line in the log: the first, and each time there are twice as
/// many. An outage of hours must not bury what else is said.
pub(crate) fn is_said(failures: impl Into<u64>) -> bool {
    failures.into().is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_use_the_whole_of_it() {
        let mut backoff = Backoff::new(&Options::default(), 7);
        for (failures, most_ms) in [(1, 100), (2, 200), (3, 400), (7, 500), (u32::MAX, 500)] {
            let waits: Vec<u128> = (0..1000).map(|_| backoff.after(failures).as_millis()).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*most <= most_ms && *most > most_ms * 9 / 10, "{failures}: {most}");
            assert!(*least < most_ms / 10, "{failures}: {least}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_waits() {
        let draw = |seed| {
            let mut backoff = Backoff::new(&Options::default(), seed);
            (1..9).map(|failures| backoff.after(failures)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
