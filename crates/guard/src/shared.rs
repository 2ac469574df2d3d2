//! One rate for several processes: each live one uses an equal part.
//!
//! Each process writes a row and reads the rows of all processes. A reading is valid for `heartbeat`, from the moment
//! when it began. A process that joins waits as long after its row was written: by then every reading without this row
//! has ended. So the parts in use never add up to more than the rate. A process that cannot read uses nothing.
//!
//! A row must be dropped later than `heartbeat` after its last writing. Clocks must run at the same speed; they need
//! not show the same time. A process that writes and reads more often than once a `heartbeat` has no gap between
//! readings.
//!
//! A rate below one call in 1,000 seconds for each process is no call: parts are whole numbers.

use std::time::{Duration, Instant};

use crate::Pace;

/// What a process uses that does not know its part.
pub(crate) const NOTHING: Pace = Pace { per_1000_s: 0, burst: 1 };

/// See the module.
#[derive(Debug, Clone)]
pub struct Shared {
    total: Pace,
    heartbeat: Duration,
    joined: Option<Instant>,
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    processes: u32,
    at: Instant,
}

impl Shared {
    /// The rate of all together, and how often each process writes and reads.
    #[must_use]
    pub fn new(total: Pace, heartbeat: Duration) -> Self {
        Self { total, heartbeat, joined: None, seen: None }
    }

    /// This process' row is there since `at` or earlier. A later call moves that moment to a later one only: the row
    /// was dropped in between and written again.
    pub fn joined(&mut self, at: Instant) {
        self.joined = Some(self.joined.map_or(at, |before| before.max(at)));
    }

    /// Whether this process' row is there, as far as it was told.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// The rows were read, and `processes` of them are live, this one's included. `began` is the moment before
    /// the reading.
    pub fn seen(&mut self, processes: u32, began: Instant) {
        self.seen = Some(Seen { processes: processes.max(1), at: began });
    }

    /// The row of this process is gone: it has to be written again, and joins anew.
    pub fn dropped(&mut self) {
        self.joined = None;
        self.seen = None;
    }

    /// What this process may use now. A burst is divided, too; each process has at least one.
    #[must_use]
    pub fn pace(&self, now: Instant) -> Pace {
        match self.processes(now) {
            0 => NOTHING,
            processes => Pace {
                per_1000_s: self.total.per_1000_s / u64::from(processes),
                burst: (self.total.burst / processes).max(1),
            },
        }
    }

    /// Processes that the rate is divided by now; 0 while this one uses nothing.
    #[must_use]
    pub fn processes(&self, now: Instant) -> u32 {
        let is_in = self.joined.is_some_and(|at| now >= at + self.heartbeat);
        let seen = self.seen.filter(|seen| is_in && now < seen.at + self.heartbeat);
        seen.map_or(0, |seen| seen.processes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(5);

    #[test]
    fn one_that_joins_waits_a_heartbeat() {
        let now = Instant::now();
        let mut shared = Shared::new(Pace::per_second(100, 10), HEARTBEAT);
        shared.joined(now);
        shared.seen(2, now + HEARTBEAT / 2);
        assert_eq!(shared.pace(now + HEARTBEAT - Duration::from_nanos(1)).per_1000_s, 0);
        assert_eq!(shared.pace(now + HEARTBEAT), Pace { per_1000_s: 50_000, burst: 5 });
    }

    #[test]
    fn one_that_cannot_read_or_was_dropped_uses_nothing() {
        let now = Instant::now();
        let mut shared = Shared::new(Pace::per_second(100, 10), HEARTBEAT);
        shared.joined(now);
        let read = now + 2 * HEARTBEAT;
        shared.seen(1, read);
        assert_eq!(shared.pace(read).per_1000_s, 100_000);
        assert_eq!(shared.pace(read + HEARTBEAT).per_1000_s, 0, "what it read is too old");
        shared.seen(1, read + HEARTBEAT);
        shared.dropped();
        assert_eq!(shared.pace(read + HEARTBEAT).per_1000_s, 0);
    }
}
