//! How many retries there may be: a share of the calls.
//!
//! Retries that each caller decides alone multiply the load on a service that fails already. A budget bounds the
//! load by calls × (1 + share). Source: M. Brooker, *Fixing retries with token buckets and circuit breakers*,
//! 2022; Finagle, `RetryBudget`.

use std::time::Instant;

use crate::{Pace, Rate};

/// Parts of a retry, so that a share counts exactly.
const PARTS: u64 = 1000;

/// The bounds of a [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Retries for 1,000 first attempts, 0 to 1,000.
    pub retries_permille: u16,
    /// Retries that may be saved up, 1 to 100,000.
    pub saved_max: u32,
    /// Retries that are always allowed, in 1,000 seconds, 1 to 1,000,000. Without them a caller that holds
    /// nothing but failed calls would never earn another attempt.
    pub floor_per_1000_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { retries_permille: 200, saved_max: 100, floor_per_1000_s: 1_000 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Budget {
    earned_a_call: u64,
    saved: u64,
    saved_max: u64,
    floor: Rate,
    denied: u64,
}

impl Budget {
    /// A budget that has saved all that it may. Values out of bounds count as the nearest bound.
    #[must_use]
    pub fn new(options: Options, now: Instant) -> Self {
        let saved_max = u64::from(options.saved_max.clamp(1, 100_000)) * PARTS;
        let floor = Pace { per_1000_s: options.floor_per_1000_s.clamp(1, 1_000_000), burst: 1 };
        Self {
            earned_a_call: u64::from(options.retries_permille.min(1000)),
            saved: saved_max,
            saved_max,
            floor: Rate::full(floor, now),
            denied: 0,
        }
    }

    /// A first attempt begins.
    pub fn called(&mut self) {
        self.saved = (self.saved + self.earned_a_call).min(self.saved_max);
    }

    /// A retry was answered: it was worth its price, and is paid back. Else a backlog of retries after an outage
    /// would wait for first attempts that earn them.
    pub fn answered(&mut self) {
        self.saved = (self.saved + PARTS).min(self.saved_max);
    }

    /// Whether a retry may begin.
    pub fn ready(&mut self, now: Instant) -> bool {
        self.saved >= PARTS || self.floor.ready(now).is_ok()
    }

    /// Pays for one retry; false if there is nothing to pay with.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.saved >= PARTS {
            self.saved -= PARTS;
            return true;
        }
        let paid = self.floor.take(now).is_ok();
        self.denied += u64::from(!paid);
        paid
    }

    /// Retries that could begin now, without the floor.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.saved / PARTS
    }

    /// Retries that were refused since the start.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retries_are_a_share_of_the_calls() {
        let now = Instant::now();
        let mut budget = Budget::new(Options { saved_max: 10, ..Options::default() }, now);
        let spent = std::iter::from_fn(|| budget.take(now).then_some(())).count();
        assert_eq!(spent, 10 + 1, "what was saved, and the floor's one");
        let mut retries = 0;
        for _ in 0..1000 {
            budget.called();
            retries += u32::from(budget.take(now));
        }
        assert_eq!(retries, 200);
        assert_eq!(budget.denied(), 1 + 800);
    }

    #[test]
    fn a_retry_that_is_answered_costs_nothing() {
        let now = Instant::now();
        let mut budget = Budget::new(Options::default(), now);
        while budget.take(now) {}
        let second = now + Duration::from_secs(1);
        for _ in 0..1000 {
            assert!(budget.take(second), "the floor paid for the first");
            budget.answered();
        }
        assert!(budget.take(second) && !budget.take(second));
    }

    #[test]
    fn a_caller_that_holds_nothing_but_failed_calls_goes_on_at_the_floor() {
        let now = Instant::now();
        let mut budget = Budget::new(Options::default(), now);
        while budget.take(now) {}
        let at = |ms| now + Duration::from_millis(ms);
        let retries = (1..=10_000).filter(|ms| budget.take(at(*ms))).count();
        assert_eq!(retries, 10);
    }
}
