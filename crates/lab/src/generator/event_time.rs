//! From time on the machine to time in the story.

use std::time::Duration;

use model::clock::EpochMs;

/// How often a user may pay in a minute of event time for plain traffic to stay plain. Well below
/// five, so that drawing another card is seldom needed even when a profile triples the rate.
const CALM_PER_USER_MINUTE: f64 = 0.25;

/// Event time that starts somewhere and runs `speed` times as fast as the machine's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventTime {
    /// Event time when nothing has elapsed.
    pub start_ms: EpochMs,
    /// Event seconds in a second. 1 is real time.
    pub speed: f64,
}

impl EventTime {
    /// Real time from `start_ms`.
    #[must_use]
    pub fn real(start_ms: EpochMs) -> Self {
        Self { start_ms, speed: 1.0 }
    }

    /// Fast enough that `users` can pay `tps` times a second and each still pays seldom (at least
    /// real time), and such that event time reaches `now_ms` when `duration` is over. Whole speeds
    /// only, so that the same arguments mean the same times to the millisecond.
    #[must_use]
    pub fn calm(now_ms: EpochMs, duration: Duration, tps: f64, users: usize) -> Self {
        let per_minute = tps * 60.0;
        #[expect(clippy::cast_precision_loss, reason = "a pool has far fewer than 2^52 users")]
        let calm = users.max(1) as f64 * CALM_PER_USER_MINUTE;
        let speed = (per_minute / calm).ceil().max(1.0);
        let ending = Self { start_ms: 0, speed };
        Self { start_ms: now_ms - ending.at(duration), speed }
    }

    /// Event time when `elapsed` has passed on the machine.
    #[must_use]
    pub fn at(&self, elapsed: Duration) -> EpochMs {
        // Through f64: exact to the millisecond for the first 285,000 years of event time.
        #[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted")]
        let ms = (elapsed.as_secs_f64() * 1000.0 * self.speed) as i64;
        self.start_ms.saturating_add(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_runs_second_by_second() {
        assert_eq!(EventTime::real(1_000).at(Duration::from_millis(2_500)), 3_500);
    }

    #[test]
    fn calm_time_ends_now_and_never_runs_slower_than_the_machine() {
        let minute = Duration::from_secs(60);
        let calm = EventTime::calm(1_000_000_000_000, minute, 2_000.0, 500);
        assert_eq!(calm.at(minute), 1_000_000_000_000);
        assert!((calm.speed - 960.0).abs() < 1e-9, "{}", calm.speed);
        assert!((EventTime::calm(0, minute, 0.1, 500).speed - 1.0).abs() < 1e-9);
    }
}
