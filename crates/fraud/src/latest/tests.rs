use proptest::prelude::*;

use super::*;

const RETENTION: Retention = Retention { span_ms: 120, keep_min: 8 };

fn slot(nth: usize, at_ms: i64) -> Slot {
    Slot::new(&format!("tx-{nth}"), at_ms)
}

fn grown(times: &[i64], retention: Retention) -> Latest {
    let mut latest = Latest::default();
    for (nth, &at_ms) in times.iter().enumerate() {
        latest.insert(slot(nth, at_ms), retention);
    }
    latest
}

/// What the store tells of payments settled in this order: the latest, oldest first.
fn told(times: &[i64]) -> Vec<Slot> {
    let mut slots: Vec<Slot> = times.iter().enumerate().map(|(n, &at)| slot(n, at)).collect();
    // Stable: equal times stay in the order of settling.
    slots.sort_by_key(|slot| slot.at_ms);
    slots.split_off(slots.len().saturating_sub(RECENT_MAX))
}

/// The rule as it is written down, applied to the whole list.
fn by_the_rule(times: &[i64], retention: Retention) -> Vec<Slot> {
    let mut order: Vec<Slot> = times.iter().enumerate().map(|(n, &at)| slot(n, at)).collect();
    order.sort_by_key(|slot| slot.at_ms);
    order.reverse();
    let newest_ms = order.first().map_or(0, |slot| slot.at_ms);
    let mut kept: Vec<Slot> = order
        .into_iter()
        .enumerate()
        .filter(|(rank, slot)| {
            *rank < retention.keep_min || slot.at_ms > newest_ms - retention.span_ms
        })
        .map(|(_, slot)| slot)
        .take(RECENT_MAX)
        .collect();
    kept.reverse();
    kept
}

fn held(latest: &Latest) -> Vec<Slot> {
    latest.slots().iter().copied().filter(|slot| *slot != VACANT).collect()
}

#[test]
fn at_the_bound_of_the_span_a_payment_is_dropped_and_one_millisecond_later_it_stays() {
    let mut times = vec![0; 10];
    times.extend([120; 8]);
    assert_eq!(held(&grown(&times, RETENTION)).len(), 8);
    times[..10].fill(1);
    assert_eq!(held(&grown(&times, RETENTION)).len(), 18);
}

#[test]
fn the_fewest_and_the_most_are_kept() {
    let apart: Vec<i64> = (0..20).map(|nth| nth * 1_000).collect();
    assert_eq!(held(&grown(&apart, RETENTION)).len(), 8);
    let together = [5; RECENT_MAX + 1];
    let latest = grown(&together, RETENTION);
    assert_eq!(held(&latest).len(), RECENT_MAX);
    assert_eq!(latest.slots()[0], slot(1, 5), "of equal times, the one settled first goes first");
}

#[test]
fn room_is_given_back_after_a_burst() {
    let mut times = vec![5; RECENT_MAX];
    assert_eq!(grown(&times, RETENTION).burst.len(), RECENT_MAX);
    times.push(1_000);
    let latest = grown(&times, RETENTION);
    assert_eq!((latest.burst.len(), held(&latest).len()), (0, RETENTION.keep_min));
    let many = Retention { keep_min: 20, ..RETENTION };
    let latest = grown(&times, many);
    assert_eq!((latest.burst.len(), held(&latest).len()), (20, 20));
}

fn times() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        8 => 0..3_i64,
        4 => 0..40_i64,
        1 => 100..400_i64,
        2 => -200..0_i64,
        1 => Just(0),
    ];
    proptest::collection::vec((step, proptest::bool::weighted(0.02)), 0..600).prop_map(|steps| {
        let mut now_ms = 0;
        let each = |(step, ahead)| {
            now_ms += step;
            // Now and then one is dated far ahead, and the next ones are not.
            if ahead { now_ms + 500 } else { now_ms }
        };
        steps.into_iter().map(each).collect()
    })
}

proptest! {
    #[test]
    fn built_up_read_back_and_by_the_rule_are_the_same(
        times in times(), keep_min in 1..40_usize, span_ms in 1..300_i64, more in times(),
    ) {
        let retention = Retention { span_ms, keep_min };
        let mut built = grown(&times, retention);
        let mut read = Latest::rebuilt(told(&times).into_iter(), retention);
        prop_assert_eq!(held(&built), by_the_rule(&times, retention));
        prop_assert_eq!(held(&read), held(&built));
        prop_assert!(read == built);
        // And they stay the same, however much room each has to spare.
        for (nth, at_ms) in more.iter().enumerate().take(40) {
            let slot = slot(1_000 + nth, *at_ms);
            prop_assert_eq!(read.look(slot, span_ms / 2), built.look(slot, span_ms / 2));
            read.insert(slot, retention);
            built.insert(slot, retention);
            prop_assert!(read == built);
        }
    }

    #[test]
    fn extreme_times_do_not_overflow(times: Vec<i64>, at_ms: i64) {
        let retention = Retention { span_ms: i64::MAX, keep_min: 8 };
        let latest = grown(&times, retention);
        let (repeat, others) = latest.look(slot(usize::MAX, at_ms), i64::MAX);
        prop_assert!(!repeat && others as usize <= times.len());
    }
}
