//! What was seen of a load.

use std::collections::BTreeMap;

use model::clock::EpochMs;
use store::Load;

use crate::capacity::{Capacity, share, share_max};

/// A load, over the intervals in which somebody settled it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// In the order of time.
    pub minutes: Vec<Minute>,
    /// How long it was looked at, in seconds.
    pub covered_s: f64,
    /// How long of that something was settled.
    pub loaded_s: f64,
    /// Events that came in.
    pub events: u64,
    /// What one process could do.
    pub capacity: Option<Capacity>,
    /// Most events that waited.
    pub backlog_max: u64,
    /// How long the oldest of them had waited, in milliseconds.
    pub oldest_age_ms_max: u64,
    /// Most events of one second.
    pub second_max: u64,
    /// Processes that settled lately: in one of the last two intervals, for not all may have noted the last.
    pub processes: u64,
}

/// One interval, over all processes; a minute as a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Minute {
    /// When it began.
    pub started_at_ms: EpochMs,
    /// How long it was looked at, in milliseconds.
    pub span_ms: u64,
    /// Events that came in.
    pub arrived: u64,
    /// Events that somebody was done with.
    pub finished: u64,
    /// Share of the time that lanes were at work, on average.
    pub busy: f64,
    /// The same of the busiest lane.
    pub busy_max: f64,
    /// Processes that settled in it.
    pub processes: u64,
}

impl Minute {
    /// Events that came in each second, on average.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        self.arrived as f64 * 1_000.0 / self.span_ms as f64
    }

    /// From the rows of one interval.
    fn of(loads: &[&Load]) -> Self {
        let longest = loads.iter().max_by_key(|load| load.span_ms).expect("there is a row");
        let finished = loads.iter().map(|load| load.finished).sum::<u64>();
        // All processes see the same backlog: what came in is what they were done with, and what is
        // there now and was not before.
        let arrived = (finished + longest.backlog_last).saturating_sub(longest.backlog_first);
        let processes = loads.len() as u64;
        Self {
            started_at_ms: longest.started_at_ms,
            span_ms: longest.span_ms,
            arrived,
            finished,
            busy: loads.iter().map(|load| share(load)).sum::<f64>() / processes as f64,
            busy_max: loads.iter().map(|load| share_max(load)).fold(0.0, f64::max),
            processes,
        }
    }
}

impl Seen {
    /// From rows, in the order of time.
    #[must_use]
    pub fn of(loads: &[Load]) -> Self {
        let mut intervals: BTreeMap<EpochMs, Vec<&Load>> = BTreeMap::new();
        for load in loads {
            intervals.entry(load.started_at_ms).or_default().push(load);
        }
        let minutes: Vec<_> = intervals.values().map(|loads| Minute::of(loads)).collect();
        let span = |minutes: &mut dyn Iterator<Item = &Minute>| {
            minutes.map(|minute| minute.span_ms as f64 / 1_000.0).sum()
        };
        let second = |loads: &Vec<&Load>| loads.iter().map(|load| load.peak_per_s).sum::<u64>();
        Self {
            covered_s: span(&mut minutes.iter()),
            loaded_s: span(&mut minutes.iter().filter(|minute| minute.finished > 0)),
            events: minutes.iter().map(|minute| minute.arrived).sum(),
            capacity: Capacity::of(loads),
            backlog_max: loads.iter().map(|load| load.backlog_max).max().unwrap_or(0),
            oldest_age_ms_max: loads.iter().map(|load| load.oldest_age_ms_max).max().unwrap_or(0),
            second_max: intervals.values().map(second).max().unwrap_or(0),
            processes: minutes
                .iter()
                .rev()
                .take(2)
                .map(|minute| minute.processes)
                .max()
                .unwrap_or(0),
            minutes,
        }
    }

    /// Events that came in each second of the time it was looked at, on average.
    #[must_use]
    pub fn mean_per_s(&self) -> f64 {
        if self.covered_s > 0.0 { self.events as f64 / self.covered_s } else { 0.0 }
    }

    /// The interval in which most came in.
    #[must_use]
    pub fn busiest(&self) -> Option<&Minute> {
        self.minutes.iter().max_by(|a, b| a.per_s().total_cmp(&b.per_s()))
    }

    /// Events a second of that one.
    #[must_use]
    pub fn peak_per_s(&self) -> f64 {
        self.busiest().map_or(0.0, Minute::per_s)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A minute in which a process had nothing to do.
    pub(crate) fn load(minute: i64) -> Load {
        Load {
            started_at_ms: minute * 60_000,
            span_ms: 60_000,
            process: "a:1".to_owned(),
            roles: "api,worker".to_owned(),
            pipeline: "consumer_batch".to_owned(),
            buffer: "journal".to_owned(),
            lanes: 2,
            batch_max: 1_000,
            settled: 0,
            finished: 0,
            batches: 0,
            failed: 0,
            peak_per_s: 0,
            worked_ms: 0,
            worked_ms_max: 0,
            backlog_first: 0,
            backlog_last: 0,
            backlog_max: 0,
            oldest_age_ms_max: 0,
        }
    }

    #[test]
    fn what_comes_in_is_what_was_done_with_and_what_the_backlog_grew_by() {
        let busy = Load { finished: 600, backlog_first: 100, backlog_last: 1_300, ..load(1) };
        let catches_up = Load { finished: 1_300, backlog_first: 1_300, ..load(2) };
        let seen = Seen::of(&[load(0), busy, catches_up]);
        let arrived: Vec<_> = seen.minutes.iter().map(|minute| minute.arrived).collect();
        assert_eq!(arrived, [0, 1_800, 0]);
        assert!((seen.peak_per_s() - 30.0).abs() < 1e-9 && (seen.mean_per_s() - 10.0).abs() < 1e-9);
        assert!((seen.covered_s - 180.0).abs() < 1e-9 && (seen.loaded_s - 120.0).abs() < 1e-9);
        assert_eq!(seen.busiest().unwrap().started_at_ms, 60_000);
    }

    #[test]
    fn several_processes_see_one_backlog_and_add_up() {
        let of = |process: &str, finished, peak_per_s| Load {
            process: process.to_owned(),
            finished,
            peak_per_s,
            worked_ms: finished * 10,
            worked_ms_max: finished * 6,
            backlog_first: 50,
            backlog_last: 650,
            ..load(0)
        };
        let late = Load { span_ms: 31_000, backlog_first: 400, ..of("c:3", 300, 9) };
        let seen = Seen::of(&[of("a:1", 1_200, 40), of("b:2", 900, 30), late]);
        let minute = &seen.minutes[0];
        assert_eq!((minute.arrived, minute.processes, seen.processes), (3_000, 3, 3));
        assert!((minute.per_s() - 50.0).abs() < 1e-9);
        assert!((minute.busy_max - 0.12).abs() < 1e-9, "{minute:?}");
        assert_eq!(seen.second_max, 79);
    }

    #[test]
    fn of_nothing_nothing_is_seen() {
        let seen = Seen::of(&[]);
        assert_eq!(seen, Seen::default());
        assert!(seen.peak_per_s().abs() < f64::EPSILON && seen.mean_per_s().abs() < f64::EPSILON);
    }
}
