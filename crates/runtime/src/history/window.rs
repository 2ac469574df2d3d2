//! From looks to one row.

use std::time::Duration;

use engine::Counts;
use model::clock::EpochMs;
use store::Load;
use tokio::time::Instant;

/// All counts since the start, at one moment.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) now_ms: EpochMs,
    pub(super) counts: Counts,
    /// How long each lane has worked.
    pub(super) lanes: Vec<Duration>,
    /// How many of them settle.
    pub(super) active: usize,
    pub(super) batches: u64,
    /// `None` where nobody asked, or the buffer did not answer.
    pub(super) held: Option<Held>,
}

/// What a buffer holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) events: u64,
    pub(super) oldest_age_ms: u64,
}

/// The looks of one interval.
#[derive(Debug)]
pub(super) struct Window {
    interval_ms: i64,
    /// Whether this process has the buffer to itself.
    alone: bool,
    first: Look,
    last: Look,
    /// Since when the events of a second are counted, and the backlog then.
    counted: (Instant, u64, Option<u64>),
    peak_per_s: f64,
    backlog_first: u64,
    backlog_last: u64,
    backlog_max: u64,
    oldest_age_ms_max: u64,
}

impl Window {
    /// Begins with `first`, of which nothing is counted.
    pub(super) fn begin(first: Look, interval_ms: i64, alone: bool) -> Self {
        let backlog = first.held.map(|held| held.events);
        Self {
            interval_ms,
            alone,
            last: first.clone(),
            counted: (first.at, finished(&first.counts), backlog),
            peak_per_s: 0.0,
            backlog_first: backlog.unwrap_or(0),
            backlog_last: backlog.unwrap_or(0),
            backlog_max: backlog.unwrap_or(0),
            oldest_age_ms_max: first.held.map_or(0, |held| held.oldest_age_ms),
            first,
        }
    }

    /// The one that follows, from the look that ended this one. A buffer that could not be looked at
    /// counts as it was.
    pub(super) fn next(self, look: Look) -> Self {
        let known = self.counted.2.is_some();
        let mut next = Self::begin(look, self.interval_ms, self.alone);
        if next.first.held.is_none() {
            next.backlog_first = self.backlog_last;
            next.backlog_last = self.backlog_last;
            next.backlog_max = self.backlog_last;
            if known {
                next.counted = self.counted;
            }
        }
        next
    }

    /// Whether `now_ms` is beyond the interval.
    pub(super) fn is_over(&self, now_ms: EpochMs) -> bool {
        self.of(now_ms) != self.of(self.first.now_ms)
    }

    pub(super) fn add(&mut self, look: &Look) {
        self.peak(look);
        if let Some(held) = look.held {
            if self.counted.2.is_none() {
                // What it held before is not known, and is no change.
                self.backlog_first = held.events;
                self.counted = (look.at, finished(&look.counts), None);
            }
            self.backlog_last = held.events;
            self.backlog_max = self.backlog_max.max(held.events);
            self.oldest_age_ms_max = self.oldest_age_ms_max.max(held.oldest_age_ms);
            self.counted.2 = Some(held.events);
        }
        self.last = look.clone();
    }

    /// Counts the events since the last time that could be done.
    fn peak(&mut self, look: &Look) {
        let (since, before, backlog) = self.counted;
        let done = finished(&look.counts);
        let events = if self.alone {
            let (Some(backlog), Some(held)) = (backlog, look.held) else { return };
            (done + held.events).saturating_sub(before + backlog)
        } else {
            done.saturating_sub(before)
        };
        let passed = look.at.duration_since(since).as_secs_f64();
        if passed > 0.0 {
            self.peak_per_s = self.peak_per_s.max(events as f64 / passed);
        }
        self.counted.0 = look.at;
        self.counted.1 = done;
    }

    /// What was seen, without what every row of this process has. `None` when it was looked at for less
    /// than half of the interval: a rate over a moment is none.
    pub(super) fn seen(&self) -> Option<Load> {
        let (first, last) = (&self.first, &self.last);
        let span_ms = ms(last.at.duration_since(first.at));
        if span_ms == 0 || span_ms.saturating_mul(2) < self.interval_ms.unsigned_abs() {
            return None;
        }
        // A pipeline that was scaled has more lanes than before.
        let before = first.lanes.iter().copied().chain(std::iter::repeat(Duration::ZERO));
        let lanes = last.lanes.iter().zip(before);
        let worked: Vec<_> = lanes.map(|(now, before)| now.saturating_sub(before)).collect();
        let busiest = worked.iter().max().copied().unwrap_or_default();
        Some(Load {
            started_at_ms: self.of(first.now_ms),
            span_ms,
            process: String::new(),
            roles: String::new(),
            pipeline: String::new(),
            buffer: String::new(),
            lanes: u32::try_from(last.active).unwrap_or(u32::MAX),
            batch_max: 0,
            settled: last.counts.settled - first.counts.settled,
            finished: finished(&last.counts) - finished(&first.counts),
            batches: last.batches - first.batches,
            failed: last.counts.failed - first.counts.failed,
            peak_per_s: rounded(self.peak_per_s),
            worked_ms: ms(worked.iter().sum()),
            // Up, as the sum is rounded down once for all: the busiest is never below the mean of them.
            worked_ms_max: ms(busiest + Duration::from_nanos(999_999)),
            backlog_first: self.backlog_first,
            backlog_last: self.backlog_last,
            backlog_max: self.backlog_max,
            oldest_age_ms_max: self.oldest_age_ms_max,
        })
    }

    /// When the interval that `now_ms` lies in began.
    fn of(&self, now_ms: EpochMs) -> EpochMs {
        now_ms - now_ms.rem_euclid(self.interval_ms.max(1))
    }
}

fn finished(counts: &Counts) -> u64 {
    counts.settled + counts.duplicates + counts.dead
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of events over a time is not negative, and a float saturates"
)]
fn rounded(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    /// 200 ms into a minute.
    const START_MS: i64 = 1_699_999_980_200;

    /// A look `seconds` after the start, with so much finished and held.
    fn look(start: Instant, seconds: u64, finished: u64, held: Option<u64>) -> Look {
        let counts = Counts {
            settled: finished / 2,
            duplicates: finished - finished / 2,
            failed: seconds / 10,
            ..Counts::default()
        };
        Look {
            at: start + Duration::from_secs(seconds),
            now_ms: START_MS + i64::try_from(seconds).unwrap() * 1_000,
            counts,
            lanes: vec![Duration::from_millis(100 * seconds), Duration::from_millis(300 * seconds)],
            active: 2,
            batches: finished / 5,
            held: held.map(|events| Held { events, oldest_age_ms: events * 2 }),
        }
    }

    fn window(alone: bool, looks: &[(u64, u64, Option<u64>)]) -> Window {
        let start = Instant::now();
        let looks = looks.iter().map(|&(s, finished, held)| look(start, s, finished, held));
        let mut looks = looks.collect::<Vec<_>>().into_iter();
        let mut window = Window::begin(looks.next().unwrap(), MINUTE_MS, alone);
        looks.for_each(|look| window.add(&look));
        window
    }

    #[test]
    fn a_row_is_what_changed_between_the_first_look_and_the_last() {
        let looks =
            [(0, 100, Some(10)), (1, 110, Some(40)), (59, 400, Some(30)), (60, 420, Some(20))];
        let window = window(true, &looks);
        assert!(!window.is_over(START_MS + 59_799) && window.is_over(START_MS + 59_800));
        let seen = window.seen().unwrap();
        assert_eq!((seen.started_at_ms, seen.span_ms), (START_MS - 200, 60_000));
        assert_eq!((seen.settled, seen.finished, seen.batches, seen.failed), (160, 320, 64, 6));
        assert_eq!((seen.lanes, seen.worked_ms, seen.worked_ms_max), (2, 24_000, 18_000));
        assert_eq!((seen.backlog_first, seen.backlog_last), (10, 20));
        assert_eq!((seen.backlog_max, seen.oldest_age_ms_max), (40, 80));
        // In the first second 10 were done with and the backlog grew by 30.
        assert_eq!(seen.peak_per_s, 40);
    }

    #[test]
    fn the_busiest_lane_is_never_below_the_mean_of_them() {
        let lanes = |us: u64| vec![Duration::from_micros(us); 2];
        let start = Instant::now();
        let (mut first, mut last) = (look(start, 0, 0, None), look(start, 60, 0, None));
        (first.lanes, last.lanes) = (lanes(0), lanes(14_600));
        let mut window = Window::begin(first, MINUTE_MS, true);
        window.add(&last);
        let seen = window.seen().unwrap();
        assert_eq!((seen.worked_ms, seen.worked_ms_max), (29, 15));
    }

    #[test]
    fn lanes_that_were_added_meanwhile_are_counted() {
        let start = Instant::now();
        let (mut first, mut last) = (look(start, 0, 0, None), look(start, 60, 0, None));
        first.lanes = vec![Duration::from_secs(1)];
        last.lanes = vec![Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(4)];
        (first.active, last.active) = (1, 3);
        let mut window = Window::begin(first, MINUTE_MS, true);
        window.add(&last);
        let seen = window.seen().unwrap();
        assert_eq!((seen.lanes, seen.worked_ms, seen.worked_ms_max), (3, 10_000, 5_000));
    }

    #[test]
    fn of_a_buffer_that_others_use_too_the_peak_is_of_what_was_done_with() {
        let looks = [(0, 100, Some(10)), (1, 110, None), (2, 150, None), (60, 160, Some(900))];
        let seen = window(false, &looks).seen().unwrap();
        assert_eq!(seen.peak_per_s, 40);
        assert_eq!((seen.backlog_first, seen.backlog_last), (10, 900));
    }

    #[test]
    fn while_the_buffer_can_not_be_looked_at_a_second_is_as_long_as_that() {
        let looks = [(0, 0, Some(0)), (1, 0, None), (10, 0, Some(1_000)), (60, 0, Some(1_000))];
        let seen = window(true, &looks).seen().unwrap();
        assert_eq!(seen.peak_per_s, 100);
    }

    #[test]
    fn a_backlog_that_was_there_before_the_first_look_at_it_did_not_come_in() {
        let looks = [(0, 0, None), (1, 0, Some(5_000)), (60, 60, Some(4_940))];
        let seen = window(true, &looks).seen().unwrap();
        assert_eq!((seen.backlog_first, seen.backlog_last, seen.peak_per_s), (5_000, 4_940, 0));
    }

    #[test]
    fn the_next_one_begins_where_this_one_ended() {
        let start = Instant::now();
        let first = window(true, &[(0, 0, Some(7)), (60, 60, None)]);
        let mut next = first.next(look(start, 60, 60, None));
        next.add(&look(start, 120, 240, Some(7)));
        let seen = next.seen().unwrap();
        assert_eq!((seen.finished, seen.backlog_first, seen.backlog_last), (180, 7, 7));
        // 240 events since the buffer was last looked at, two minutes ago.
        assert_eq!(seen.peak_per_s, 2);
    }

    #[test]
    fn less_than_half_an_interval_is_no_row() {
        assert!(window(true, &[(0, 0, None), (29, 9, None)]).seen().is_none());
        assert!(window(true, &[(0, 0, None), (30, 9, None)]).seen().is_some());
    }
}
