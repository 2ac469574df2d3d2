//! The decision.

use crate::seen::Seen;

/// What triggers a move.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// How long something must have been settled before anything is said, in seconds.
    pub load_min_s: u64,
    /// Share of what a process can do that may be used in the busiest minute.
    pub utilization: f64,
    /// Processes that are required to settle at the same time, whatever the load: so that one may die or
    /// be replaced.
    pub processes: u64,
    /// Independent consumers that are to read the same events.
    pub consumers: u64,
    /// Events a second up to which one Redis is trusted.
    pub redis_max_per_s: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            load_min_s: 600,
            utilization: 0.8,
            processes: 1,
            consumers: 1,
            redis_max_per_s: 10_000,
        }
    }
}

/// Where a load may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One machine, with a journal.
    Journal,
    /// Several machines around one Redis.
    Redis,
    /// Several machines around a Kafka cluster.
    Kafka,
}

impl Place {
    /// As the buffer's kind is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
        }
    }
}

/// Which of the rules decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// One process has room for the busiest minute.
    RoomEnough,
    /// It has with more calls at once.
    MoreCalls,
    /// It has not.
    TooMuchForOne,
    /// Several processes are required.
    SeveralProcesses,
    /// Several consumers are.
    SeveralConsumers,
    /// One process has no room, or several are required, and one Redis is not trusted with it.
    TooMuchForOneRedis,
}

impl Rule {
    /// For scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoomEnough => "room_enough",
            Self::MoreCalls => "more_calls",
            Self::TooMuchForOne => "too_much_for_one",
            Self::SeveralProcesses => "several_processes",
            Self::SeveralConsumers => "several_consumers",
            Self::TooMuchForOneRedis => "too_much_for_one_redis",
        }
    }
}

/// Where a load belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// On which buffer.
    pub place: Place,
    /// The rule that decided.
    pub rule: Rule,
    /// How many that settle.
    pub machines: u64,
}

/// What can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Too little was seen.
    NotEnough,
    /// Whether one process has room depends on what was not seen: larger batches.
    Unsure,
    /// A layout is advised.
    Advised(Advice),
}

/// Where the load that was `seen` belongs.
#[must_use]
pub fn decide(seen: &Seen, thresholds: &Thresholds) -> Verdict {
    let Some(capacity) = &seen.capacity else { return Verdict::NotEnough };
    if seen.loaded_s < thresholds.load_min_s as f64 {
        return Verdict::NotEnough;
    }
    let peak = seen.peak_per_s();
    let has_room = |capacity: f64| peak <= thresholds.utilization * capacity;
    let needed = |per_s| machines(peak, thresholds.utilization * per_s).max(thresholds.processes);
    let advised = |place, rule| {
        let machines = match place {
            Place::Journal => 1,
            // One process can have more calls at once: that costs no machine.
            _ if capacity.calls_max.is_some() => needed(capacity.at_most_per_s),
            _ => needed(capacity.per_s),
        };
        Verdict::Advised(Advice { place, rule, machines })
    };
    if thresholds.consumers > 1 {
        return advised(Place::Kafka, Rule::SeveralConsumers);
    }
    if thresholds.processes <= 1 {
        if has_room(capacity.per_s) {
            return advised(Place::Journal, Rule::RoomEnough);
        }
        if has_room(capacity.at_most_per_s) {
            return match capacity.calls_max {
                Some(_) => advised(Place::Journal, Rule::MoreCalls),
                None => Verdict::Unsure,
            };
        }
    }
    if peak > thresholds.redis_max_per_s as f64 {
        return advised(Place::Kafka, Rule::TooMuchForOneRedis);
    }
    let rule = if thresholds.processes > 1 { Rule::SeveralProcesses } else { Rule::TooMuchForOne };
    advised(Place::Redis, rule)
}

/// How many that do `each` have room for `peak`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both are rates above nothing, and a float saturates"
)]
fn machines(peak: f64, each: f64) -> u64 {
    ((peak / each).ceil() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::Capacity;
    use crate::seen::Minute;

    /// Ten minutes, the busiest of them at `peak` events a second.
    fn seen(peak: u64, per_s: f64, at_most_per_s: f64) -> Seen {
        let minute = |arrived| Minute {
            started_at_ms: 0,
            span_ms: 60_000,
            arrived,
            finished: 1,
            busy: 0.5,
            busy_max: 0.5,
            processes: 1,
        };
        let mut minutes = vec![minute(60); 9];
        minutes.insert(4, minute(peak * 60));
        Seen {
            minutes,
            covered_s: 600.0,
            loaded_s: 600.0,
            capacity: Some(Capacity {
                per_s,
                at_most_per_s,
                batch: 1.0,
                batch_max: 1_000,
                calls_max: None,
            }),
            ..Seen::default()
        }
    }

    fn advised(place: Place, rule: Rule, machines: u64) -> Verdict {
        Verdict::Advised(Advice { place, rule, machines })
    }

    /// At `peak` events a second, of `capacity` that one process has.
    fn check(peak: u64, capacity: u32, thresholds: &Thresholds, expect: Verdict) {
        let capacity = f64::from(capacity);
        let got = decide(&seen(peak, capacity, capacity), thresholds);
        assert_eq!(got, expect, "{peak} of {capacity}, {thresholds:?}");
    }

    #[test]
    fn one_machine_is_enough_up_to_80_percent_of_what_it_can_do() {
        let reference = Thresholds::default();
        let stay = advised(Place::Journal, Rule::RoomEnough, 1);
        let redis = |machines| advised(Place::Redis, Rule::TooMuchForOne, machines);
        for (peak, expect) in [
            (1, stay),
            (799, stay),
            (800, stay),
            (801, redis(2)),
            (1_600, redis(2)),
            (1_601, redis(3)),
        ] {
            check(peak, 1_000, &reference, expect);
        }
        // The threshold is a setting.
        let half = Thresholds { utilization: 0.5, ..reference };
        check(500, 1_000, &half, stay);
        check(501, 1_000, &half, redis(2));
    }

    #[test]
    fn beyond_one_redis_it_is_kafka_but_only_where_one_machine_has_no_room() {
        let reference = Thresholds::default();
        let redis = advised(Place::Redis, Rule::TooMuchForOne, 13);
        check(9_999, 1_000, &reference, redis);
        check(10_000, 1_000, &reference, redis);
        check(10_001, 1_000, &reference, advised(Place::Kafka, Rule::TooMuchForOneRedis, 13));
        check(10_001, 40_000, &reference, advised(Place::Journal, Rule::RoomEnough, 1));
        let small = Thresholds { redis_max_per_s: 900, ..reference };
        check(900, 1_000, &small, advised(Place::Redis, Rule::TooMuchForOne, 2));
        check(901, 1_000, &small, advised(Place::Kafka, Rule::TooMuchForOneRedis, 2));
    }

    #[test]
    fn calls_that_are_too_few_need_more_at_once_and_no_other_machine() {
        let reference = Thresholds::default();
        let decided = |peak, thresholds: &Thresholds| {
            let mut seen = seen(peak, 1_000.0, 100_000.0);
            seen.capacity = seen.capacity.map(|known| Capacity { calls_max: Some(100), ..known });
            decide(&seen, thresholds)
        };
        assert_eq!(decided(800, &reference), advised(Place::Journal, Rule::RoomEnough, 1));
        assert_eq!(decided(801, &reference), advised(Place::Journal, Rule::MoreCalls, 1));
        assert_eq!(decided(80_000, &reference), advised(Place::Journal, Rule::MoreCalls, 1));
        let kafka = advised(Place::Kafka, Rule::TooMuchForOneRedis, 2);
        assert_eq!(decided(80_001, &reference), kafka);
        let two = Thresholds { processes: 2, ..reference };
        assert_eq!(decided(5_000, &two), advised(Place::Redis, Rule::SeveralProcesses, 2));
    }

    #[test]
    fn several_processes_need_a_redis_however_small_the_load() {
        let two = Thresholds { processes: 2, ..Thresholds::default() };
        check(1, 1_000, &two, advised(Place::Redis, Rule::SeveralProcesses, 2));
        check(1_601, 1_000, &two, advised(Place::Redis, Rule::SeveralProcesses, 3));
        check(10_001, 40_000, &two, advised(Place::Kafka, Rule::TooMuchForOneRedis, 2));
        let one = Thresholds { processes: 1, ..two };
        check(1, 1_000, &one, advised(Place::Journal, Rule::RoomEnough, 1));
    }

    #[test]
    fn several_consumers_need_a_kafka_however_small_the_load() {
        let two = Thresholds { consumers: 2, ..Thresholds::default() };
        check(1, 1_000, &two, advised(Place::Kafka, Rule::SeveralConsumers, 1));
        let both = Thresholds { processes: 3, ..two };
        check(1, 1_000, &both, advised(Place::Kafka, Rule::SeveralConsumers, 3));
    }

    #[test]
    fn too_little_history_is_not_judged() {
        let reference = Thresholds::default();
        let enough = seen(1, 1_000.0, 1_000.0);
        for (loaded_s, judged) in [(0.0, false), (599.0, false), (600.0, true)] {
            let seen = Seen { loaded_s, ..enough.clone() };
            assert_eq!(decide(&seen, &reference) != Verdict::NotEnough, judged, "{loaded_s}");
        }
        let unmeasured = Seen { capacity: None, ..enough };
        assert_eq!(decide(&unmeasured, &reference), Verdict::NotEnough);
    }

    #[test]
    fn what_only_larger_batches_would_tell_is_left_open() {
        let reference = Thresholds::default();
        let decided = |peak| decide(&seen(peak, 1_000.0, 2_000.0), &reference);
        assert_eq!(decided(800), advised(Place::Journal, Rule::RoomEnough, 1));
        assert_eq!(decided(801), Verdict::Unsure);
        assert_eq!(decided(1_600), Verdict::Unsure);
        assert_eq!(decided(1_601), advised(Place::Redis, Rule::TooMuchForOne, 3));
        // Where several are required anyway, it is not asked.
        let two = Thresholds { processes: 2, ..reference };
        let advice = decide(&seen(801, 1_000.0, 2_000.0), &two);
        assert_eq!(advice, advised(Place::Redis, Rule::SeveralProcesses, 2));
    }
}
