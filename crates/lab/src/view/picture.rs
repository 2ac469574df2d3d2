//! The data behind the picture.

use std::collections::VecDeque;
use std::time::Duration;

use buffer::Depth;

/// How many seconds of rates are kept.
pub(super) const HISTORY_S: usize = 60;

/// What was counted up to one moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Events that were offered.
    pub offered: u64,
    /// Events that the buffer accepted.
    pub accepted: u64,
    /// Events that it refused.
    pub refused: u64,
    /// Events whose effect is in the store.
    pub settled: u64,
    /// Events that were settled already.
    pub duplicates: u64,
    /// What the buffer holds.
    pub depth: Depth,
    /// Age of the oldest event that is neither settled nor buried, in milliseconds.
    pub oldest_age_ms: u64,
    /// Half of the events were settled within this time after they were accepted, in milliseconds.
    pub p50_ms: u64,
    /// The same of 99 in 100 events.
    pub p99_ms: u64,
    /// The same of all events.
    pub max_ms: u64,
    /// Payments flagged, by rule.
    pub flagged: Vec<(&'static str, u64)>,
    /// The most memory that the process had.
    pub memory_mib: Option<f64>,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Traffic is offered.
    Running,
    /// What was accepted is settled.
    Draining,
    /// What was settled is counted.
    Auditing,
}

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Auditing => "auditing",
        }
    }
}

/// Everything there is to show.
#[derive(Debug, Clone)]
pub struct Picture {
    pub(super) title: String,
    pub(super) guarantee: String,
    pub(super) duration: Option<Duration>,
    pub(super) elapsed: Duration,
    pub(super) phase: Phase,
    pub(super) now: Sample,
    pub(super) offered: Rates,
    pub(super) accepted: Rates,
    pub(super) settled: Rates,
    second_began: Duration,
}

/// The last seconds' rates of one count.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    /// Events a second, the latest last, at most [`HISTORY_S`] of them.
    pub(super) per_second: VecDeque<u64>,
    total: u64,
}

impl Rates {
    /// The rate of the last full second.
    pub(super) fn latest(&self) -> u64 {
        self.per_second.back().copied().unwrap_or(0)
    }

    fn push(&mut self, total: u64, over: Duration) {
        let more = u128::from(total.saturating_sub(self.total));
        let rate = more * 1_000 / over.as_millis().max(1);
        self.total = total;
        if self.per_second.len() == HISTORY_S {
            self.per_second.pop_front();
        }
        self.per_second.push_back(u64::try_from(rate).unwrap_or(u64::MAX));
    }
}

impl Picture {
    /// An empty picture. `title` says what runs, `guarantee` what accepted events survive.
    #[must_use]
    pub fn new(title: String, guarantee: String, duration: Option<Duration>) -> Self {
        Self {
            title,
            guarantee,
            duration,
            elapsed: Duration::ZERO,
            phase: Phase::Running,
            now: Sample::default(),
            offered: Rates::default(),
            accepted: Rates::default(),
            settled: Rates::default(),
            second_began: Duration::ZERO,
        }
    }

    /// Takes in what was counted by `elapsed`. Rates move once a second, counts each time.
    pub fn update(&mut self, elapsed: Duration, phase: Phase, sample: Sample) {
        let over = elapsed.saturating_sub(self.second_began);
        // A tick comes a little early or late: the rate is over the time that has really passed.
        if over >= Duration::from_millis(950) {
            self.offered.push(sample.offered, over);
            self.accepted.push(sample.accepted, over);
            self.settled.push(sample.settled, over);
            self.second_began = elapsed;
        }
        self.elapsed = elapsed;
        self.phase = phase;
        self.now = sample;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(settled: u64) -> Sample {
        Sample { settled, ..Sample::default() }
    }

    #[test]
    fn rates_are_over_the_time_that_has_really_passed() {
        let mut picture = Picture::new(String::new(), String::new(), None);
        picture.update(Duration::from_millis(250), Phase::Running, sample(100));
        assert_eq!(picture.settled.latest(), 0);
        picture.update(Duration::from_millis(1_000), Phase::Running, sample(1_000));
        assert_eq!(picture.settled.latest(), 1_000);
        picture.update(Duration::from_millis(3_000), Phase::Running, sample(5_000));
        assert_eq!(picture.settled.latest(), 2_000);
    }

    #[test]
    fn a_minute_of_rates_is_kept_and_no_more() {
        let mut picture = Picture::new(String::new(), String::new(), None);
        for second in 1..=100 {
            picture.update(Duration::from_secs(second), Phase::Running, sample(second * second));
        }
        assert_eq!(picture.settled.per_second.len(), HISTORY_S);
        assert_eq!(picture.settled.latest(), 199);
    }
}
