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

/// What velocity counts beside a payment at `at_ms` that comes after those at `times`, with a window
/// of half of [`RETENTION`]'s span: built up and read back.
fn others(times: &[i64], at_ms: i64) -> u32 {
    let (late, window_ms) = (slot(usize::MAX, at_ms), RETENTION.span_ms / 2);
    let (_, built) = grown(times, RETENTION).look(late, window_ms);
    let (_, read) = Latest::rebuilt(told(times).into_iter(), RETENTION).look(late, window_ms);
    assert_eq!(built, read);
    built
}

/// The same, by all payments.
fn others_of_all(times: &[i64], at_ms: i64, window_ms: i64) -> usize {
    times.iter().filter(|time| **time > at_ms - window_ms && **time <= at_ms).count()
}

/// Four payments, then `newer` of them at `newest_ms`.
fn four_and(newer: usize, newest_ms: i64) -> Vec<i64> {
    let mut times = vec![0, 1, 2, 3];
    times.resize(4 + newer, newest_ms);
    times
}

#[test]
fn a_payment_one_window_behind_the_latest_counts_all_and_one_millisecond_later_it_may_not() {
    // The window of a payment at 60 begins behind 0, where a payment at 120 has it end.
    let mut times = four_and(8, 120);
    assert_eq!(others(&times, 60), 3);
    assert_eq!(others_of_all(&times, 60, 60), 3);
    times = four_and(8, 121);
    assert_eq!(others(&times, 61), 2);
    assert_eq!(others(&times, 60), 2, "one millisecond too late");
    assert_eq!(others_of_all(&times, 60, 60), 3);
}

#[test]
fn a_payment_however_late_counts_all_that_are_among_the_last_eight() {
    assert_eq!(others(&four_and(4, 900_000), 4), 4);
    assert_eq!(others(&four_and(5, 900_000), 4), 3, "the first of the four is the ninth");
    assert_eq!(others(&four_and(8, 900_000), 4), 0);
}

#[test]
fn a_payment_counts_all_while_no_more_than_the_bound_are_newer_than_its_window() {
    assert_eq!(others(&four_and(RECENT_MAX - 4, 30), 4), 4);
    assert_eq!(others(&four_and(RECENT_MAX - 3, 30), 4), 3);
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
    fn within_the_stated_bounds_a_late_payment_counts_all(
        times in times(), keep_min in 1..40_usize, window_ms in 1..150_i64, late_ms in 0..500_i64,
    ) {
        let retention = Retention { span_ms: 2 * window_ms, keep_min };
        let latest_ms = times.iter().copied().max().unwrap_or(0);
        let at_ms = latest_ms - late_ms;
        let newer = times.iter().filter(|time| **time > at_ms - window_ms).count();
        let exact = (late_ms <= window_ms && newer <= RECENT_MAX) || newer <= keep_min;
        let (_, counted) = grown(&times, retention).look(slot(usize::MAX, at_ms), window_ms);
        let all = others_of_all(&times, at_ms, window_ms);
        prop_assert!(counted as usize <= all, "never too many");
        if exact {
            prop_assert_eq!(counted as usize, all);
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
