//! Time, passed in.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, UTC.
pub type EpochMs = i64;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Now by the wall clock, in milliseconds since the Unix epoch. Setting the machine's clock moves it.
    fn now_ms(&self) -> EpochMs;

    /// Milliseconds since a fixed moment of this process. It never goes back, and setting the machine's
    /// clock does not move it: deadlines within a process are kept in it.
    fn uptime_ms(&self) -> i64;
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
