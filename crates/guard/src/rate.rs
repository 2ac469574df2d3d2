//! How many calls may begin in a second: a token bucket.
//!
//! Source: J. Turner, *New directions in communications*, IEEE Communications Magazine 24 (10), 1986, the
//! leaky bucket as a meter. Counts are exact integers: nothing drifts however long it runs.

use std::time::{Duration, Instant};

/// Parts of a token: one nanosecond at a rate of one call in 1,000 seconds adds one part.
const PARTS: u128 = 1_000_000_000_000;
/// The longest `Retry-After` that is honoured as it is; a longer one counts as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// When to ask again while the rate is zero.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A rate, and how many calls may begin at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Calls in 1,000 seconds, 0 to 1,000,000,000. Zero lets none begin.
    pub per_1000_s: u64,
    /// Tokens that a full bucket holds, 1 to 1,000,000.
    pub burst: u32,
}

impl Pace {
    const PER_1000_S_MAX: u64 = 1_000_000_000;
    const BURST_MAX: u32 = 1_000_000;

    /// So many calls a second.
    #[must_use]
    pub fn per_second(calls: u32, burst: u32) -> Self {
        Self { per_1000_s: u64::from(calls) * 1000, burst }
    }

    fn bounded(self) -> Self {
        Self {
            per_1000_s: self.per_1000_s.min(Self::PER_1000_S_MAX),
            burst: self.burst.clamp(1, Self::BURST_MAX),
        }
    }

    fn full(self) -> u128 {
        u128::from(self.burst) * PARTS
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Rate {
    pace: Pace,
    parts: u128,
    /// Up to when tokens were counted. It lies in the future while the service asked for a pause.
    counted: Instant,
}

impl Rate {
    /// A full bucket. Values out of bounds count as the nearest bound.
    #[must_use]
    pub fn full(pace: Pace, now: Instant) -> Self {
        let pace = pace.bounded();
        Self { pace, parts: pace.full(), counted: now }
    }

    /// An empty bucket, for one that joins others.
    #[must_use]
    pub fn empty(pace: Pace, now: Instant) -> Self {
        Self { parts: 0, ..Self::full(pace, now) }
    }

    /// The rate now.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Whether a call may begin.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn ready(&mut self, now: Instant) -> Result<(), Duration> {
        self.count(now);
        let pause = self.counted.saturating_duration_since(now);
        if pause.is_zero() && self.parts >= PARTS {
            return Ok(());
        }
        if self.pace.per_1000_s == 0 {
            return Err(pause.max(ASK_AGAIN));
        }
        let wait_ns = (PARTS - self.parts.min(PARTS)).div_ceil(u128::from(self.pace.per_1000_s));
        Err(pause + Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX)))
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long to wait before asking again; then no token is taken.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.ready(now)?;
        self.parts -= PARTS;
        Ok(())
    }

    /// Changes the rate from now on. Time that has passed counts at the old rate, and no more tokens stay
    /// than the new burst.
    pub fn set(&mut self, pace: Pace, now: Instant) {
        self.count(now);
        self.pace = pace.bounded();
        self.parts = self.parts.min(self.pace.full());
    }

    /// Lets no call begin for `pause`, because the service asked for it. It shortens no earlier pause. The
    /// bucket is empty afterwards: a pause earns no tokens.
    pub fn retry_after(&mut self, pause: Duration, now: Instant) {
        self.count(now);
        self.parts = 0;
        self.counted = self.counted.max(now + pause.min(RETRY_AFTER_MAX));
    }

    fn count(&mut self, now: Instant) {
        let passed_ns = now.saturating_duration_since(self.counted).as_nanos();
        let earned = passed_ns.saturating_mul(u128::from(self.pace.per_1000_s));
        self.parts = self.parts.saturating_add(earned).min(self.pace.full());
        self.counted = self.counted.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Calls that begin from `from` for `during`, asked for at every millisecond.
    fn begun(rate: &mut Rate, from: Instant, during: Duration) -> u32 {
        let ms = u32::try_from(during.as_millis()).unwrap();
        let at = |n| from + Duration::from_millis(n);
        (0..u64::from(ms))
            .map(|n| std::iter::from_fn(|| rate.take(at(n)).ok()).map(|()| 1).sum::<u32>())
            .sum()
    }

    #[test]
    fn no_more_calls_begin_than_the_rate_and_the_burst_allow() {
        let now = Instant::now();
        let mut rate = Rate::full(Pace::per_second(100, 20), now);
        assert_eq!(begun(&mut rate, now, 10 * SECOND), 20 + 999);
    }

    #[test]
    fn the_wait_is_exactly_the_time_until_the_next_token() {
        let now = Instant::now();
        let mut rate = Rate::empty(Pace { per_1000_s: 3, burst: 1 }, now);
        let wait = rate.ready(now).unwrap_err();
        assert!(rate.ready(now + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(rate.take(now + wait), Ok(()));
    }

    #[test]
    fn a_changed_rate_does_not_burst() {
        let now = Instant::now();
        let mut rate = Rate::empty(Pace::per_second(1, 1000), now);
        // Ten idle seconds at one call a second are ten calls, and not ten thousand.
        let later = now + 10 * SECOND;
        rate.set(Pace::per_second(1000, 1000), later);
        assert_eq!(std::iter::from_fn(|| rate.take(later).ok()).count(), 10);
        assert_eq!(begun(&mut rate, later, SECOND), 999);
        // A full bucket of the old rate is no more than the new burst.
        let idle = later + 100 * SECOND;
        rate.set(Pace::per_second(1, 5), idle);
        assert_eq!(std::iter::from_fn(|| rate.take(idle).ok()).count(), 5);
    }

    #[test]
    fn retry_after_is_honoured_is_not_shortened_and_earns_nothing() {
        let now = Instant::now();
        let mut rate = Rate::full(Pace::per_second(10, 10), now);
        rate.retry_after(30 * SECOND, now);
        rate.retry_after(SECOND, now);
        let end = now + 30 * SECOND;
        assert_eq!(rate.ready(end - SECOND), Err(SECOND + SECOND / 10));
        assert!(rate.take(end).is_err());
        assert_eq!(begun(&mut rate, end, SECOND), 9);
        rate.retry_after(Duration::MAX, end);
        assert!(rate.ready(end).unwrap_err() <= RETRY_AFTER_MAX + SECOND);
    }

    #[test]
    fn a_rate_of_zero_lets_none_begin_until_it_is_changed() {
        let now = Instant::now();
        let mut rate = Rate::empty(Pace::per_second(0, 1), now);
        assert_eq!(rate.take(now + 1000 * SECOND), Err(ASK_AGAIN));
        rate.set(Pace::per_second(1, 1), now + 1000 * SECOND);
        assert_eq!(rate.take(now + 1001 * SECOND), Ok(()));
    }
}
