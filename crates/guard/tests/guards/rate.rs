//! The token bucket over random sequences.

use std::time::{Duration, Instant};

use guard::{Pace, RETRY_AFTER_MAX, Rate};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Take(u32),
    Set(Pace),
    Pause(u64),
}

fn pace() -> impl Strategy<Value = Pace> {
    // From three calls in 1,000 seconds to 50 a second, and none at all.
    let per_1000_s = prop_oneof![Just(0), 3..10_u64, 1_000..50_000_u64];
    (per_1000_s, 1..20_u32).prop_map(|(per_1000_s, burst)| Pace { per_1000_s, burst })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_000_u64).prop_map(Step::Wait),
        6 => (1..30_u32).prop_map(Step::Take),
        2 => pace().prop_map(Step::Set),
        1 => (0..5_000_u64).prop_map(Step::Pause),
    ];
    prop::collection::vec(step, 0..150)
}

/// What one stretch between two steps allowed, and what was taken at its end.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Of a token, in 10⁻⁹ parts for each call in 1,000 s and millisecond.
    earned: u128,
    burst: u32,
    taken: u128,
}

/// One token in the unit of [`Stretch::earned`].
const TOKEN: u128 = 1_000_000;

proptest! {
    /// In any stretch of time: no more calls than the rate gives in it, and one burst. None in a pause.
    #[test]
    fn no_stretch_of_any_sequence_has_more_calls_than_rate_and_burst(first in pace(), steps in steps()) {
        let mut now = Instant::now();
        let mut rate = Rate::full(first, now);
        let (mut pace, mut paused_until) = (first, now);
        let mut stretches = Vec::new();
        for step in steps {
            let mut stretch = Stretch { earned: 0, burst: pace.burst, taken: 0 };
            match step {
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    stretch.earned = u128::from(ms) * u128::from(pace.per_1000_s);
                }
                Step::Take(calls) => {
                    let taken = (0..calls).filter(|_| rate.take(now).is_ok()).count();
                    prop_assert!(taken == 0 || now >= paused_until, "a call began in a pause");
                    stretch.taken = taken as u128 * TOKEN;
                }
                Step::Set(other) => {
                    rate.set(other, now);
                    pace = other;
                }
                Step::Pause(ms) => {
                    rate.retry_after(Duration::from_millis(ms), now);
                    paused_until = paused_until.max(now + Duration::from_millis(ms));
                }
            }
            stretches.push(stretch);
        }
        for from in 0..stretches.len() {
            let (mut earned, mut taken, mut burst) = (0, 0, 0);
            for stretch in &stretches[from..] {
                earned += stretch.earned;
                taken += stretch.taken;
                burst = burst.max(stretch.burst);
                prop_assert!(taken <= earned + u128::from(burst) * TOKEN, "{:?}", &stretches[from..]);
            }
        }
    }

    /// The wait that it names is exact, and always ends.
    #[test]
    fn a_call_begins_exactly_after_the_wait_that_was_named(first in pace(), steps in steps()) {
        prop_assume!(first.per_1000_s > 0);
        let mut now = Instant::now();
        let mut rate = Rate::full(first, now);
        for step in steps {
            match step {
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Take(calls) => drop((0..calls).map(|_| rate.take(now)).last()),
                Step::Set(pace) if pace.per_1000_s > 0 => rate.set(pace, now),
                Step::Set(_) => {}
                Step::Pause(ms) => rate.retry_after(Duration::from_millis(ms), now),
            }
            if let Err(wait) = rate.ready(now) {
                prop_assert!(wait <= RETRY_AFTER_MAX + Duration::from_secs(1_000), "{wait:?}");
                prop_assert!(rate.clone().take(now + wait - Duration::from_nanos(1)).is_err());
                prop_assert!(rate.clone().take(now + wait).is_ok());
            }
        }
    }
}
