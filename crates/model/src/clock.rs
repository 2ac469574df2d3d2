//! Time, passed in.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, UTC.
pub type EpochMs = i64;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Now by the wall clock, in milliseconds since the Unix epoch. Setting the machine's clock moves it.
    fn now_ms(&self) -> EpochMs;

    /// Milliseconds since a fixed moment of this process. It never goes back, and setting the machine's
    /// clock does not move it: deadlines within a process are kept in it.
    fn uptime_ms(&self) -> i64;

    /// How long until the uptime is next a multiple of `every`: 1 ms to `every`, which is counted in whole
    /// milliseconds. Tasks that sleep for so long wake together: hundreds of them cost the process one wake-up.
    fn until_next(&self, every: Duration) -> Duration {
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
        let passed_ms = u64::try_from(self.uptime_ms()).unwrap_or(0) % every_ms;
        Duration::from_millis(every_ms - passed_ms)
    }

    /// How long a task that works about once each `every` rests after its work: until the others wake, but at least
    /// half of `every`, so that slow work is not followed by more work at once.
    fn rest(&self, every: Duration) -> Duration {
        self.until_next(every).max(every / 2)
    }
}

/// The moment that the uptime of [`System`] counts from.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    fn now_ms(&self) -> EpochMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn uptime_ms(&self) -> i64 {
        i64::try_from(STARTED.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that moves only when told to: tests step over deadlines without waiting for them.
#[derive(Debug, Clone)]
pub struct Manual {
    wall_ms: Arc<AtomicI64>,
    uptime_ms: Arc<AtomicI64>,
}

impl Manual {
    /// A clock standing at `now_ms`.
    #[must_use]
    pub fn at(now_ms: EpochMs) -> Self {
        Self { wall_ms: Arc::new(AtomicI64::new(now_ms)), uptime_ms: Arc::default() }
    }

    /// Lets `by_ms` milliseconds pass.
    ///
    /// # Panics
    /// If `by_ms` is negative: time does not go back, see [`Manual::set_wall`].
    pub fn advance(&self, by_ms: i64) {
        assert!(by_ms >= 0, "time does not go back by {by_ms} ms");
        self.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.uptime_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Sets the wall clock forward by `by_ms` milliseconds, or back where it is negative. No time passes.
    pub fn set_wall(&self, by_ms: i64) {
        self.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn now_ms(&self) -> EpochMs {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn uptime_ms(&self) -> i64 {
        self.uptime_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_begin_at_different_times_wake_at_the_same_time() {
        let clock = Manual::at(5);
        let left_ms = |every_ms| clock.until_next(Duration::from_millis(every_ms)).as_millis();
        assert_eq!((left_ms(400), left_ms(1), left_ms(0)), (400, 1, 1));
        clock.advance(399);
        assert_eq!((left_ms(400), left_ms(100), left_ms(1_000)), (1, 1, 601));
        clock.advance(1);
        assert_eq!((left_ms(400), left_ms(100), left_ms(1_000)), (400, 100, 600));
    }

    #[test]
    fn a_task_rests_at_least_half_of_its_interval_after_slow_work() {
        let clock = Manual::at(5);
        let rest_ms = || clock.rest(Duration::from_millis(400)).as_millis();
        assert_eq!(rest_ms(), 400);
        clock.advance(100);
        assert_eq!(rest_ms(), 300);
        clock.advance(299);
        assert_eq!(rest_ms(), 200);
    }
}
