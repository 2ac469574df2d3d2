//! The retry budget over random sequences.

use std::time::{Duration, Instant};

use guard::{Budget, BudgetOptions};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Call,
    Retry,
    /// A retry was answered.
    Answered,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0..5_000_u64).prop_map(Step::Wait),
        6 => Just(Step::Call),
        6 => Just(Step::Retry),
        1 => Just(Step::Answered),
    ];
    prop::collection::vec(step, 0..300)
}

fn options() -> impl Strategy<Value = BudgetOptions> {
    (0..=1_000_u16, 1..20_u32, 1..5_000_u64).prop_map(
        |(retries_permille, saved_max, floor_per_1000_s)| BudgetOptions {
            retries_permille,
            saved_max,
            floor_per_1000_s,
        },
    )
}

/// A retry, in the unit of what is counted here.
const RETRY: u64 = 1_000_000;

proptest! {
    /// In any stretch: no more retries than the share of its calls, those that were answered, what was saved, and
    /// the floor.
    #[test]
    fn no_stretch_of_any_sequence_has_more_retries_than_were_earned(options in options(), steps in steps()) {
        let mut now = Instant::now();
        let mut budget = Budget::new(options, now);
        let (mut denied, mut counted) = (0, Vec::new());
        for step in steps {
            let (mut earned, mut taken) = (0, 0);
            match step {
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    earned = ms * options.floor_per_1000_s;
                }
                Step::Call => {
                    budget.called();
                    earned = u64::from(options.retries_permille) * RETRY / 1_000;
                }
                Step::Answered => {
                    budget.answered();
                    earned = RETRY;
                }
                Step::Retry => {
                    let is_ready = budget.ready(now);
                    let is_taken = budget.take(now);
                    prop_assert_eq!(is_ready, is_taken);
                    denied += u64::from(!is_taken);
                    taken = u64::from(is_taken) * RETRY;
                }
            }
            counted.push((earned, taken));
            prop_assert_eq!(budget.denied(), denied);
            prop_assert!(budget.saved() <= u64::from(options.saved_max));
        }
        // What is saved up, and the one retry that the floor saves.
        let saved = u64::from(options.saved_max + 1) * RETRY;
        for from in 0..counted.len() {
            let (mut earned, mut taken) = (0, 0);
            for (more, retries) in &counted[from..] {
                earned += more;
                taken += retries;
                prop_assert!(taken <= earned + saved, "{:?}", &counted[from..]);
            }
        }
    }

    /// However little was earned, a retry begins again after the floor's time.
    #[test]
    fn after_any_sequence_a_retry_begins_again_at_the_floor(options in options(), steps in steps()) {
        let mut now = Instant::now();
        let mut budget = Budget::new(options, now);
        for step in steps {
            match step {
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Call => budget.called(),
                Step::Answered => budget.answered(),
                Step::Retry => drop(budget.take(now)),
            }
        }
        while budget.take(now) {}
        let floor = Duration::from_nanos(1_000_000_000_000_u64.div_ceil(options.floor_per_1000_s));
        prop_assert!(budget.take(now + floor), "nothing after {floor:?}");
    }
}
