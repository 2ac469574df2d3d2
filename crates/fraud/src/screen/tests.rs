use model::payment::Tier;
use proptest::prelude::*;
use store::payments::Recent;

use super::*;
use crate::Rule;
use crate::latest::RECENT_MAX;

const NOON_MS: i64 = 1_777_604_400_000;

fn number(card: usize) -> Number {
    Number::read(&format!("4000{card:012}")).unwrap()
}

fn payment(card: usize, nth: usize, at_ms: i64, amount: i64) -> Payment<'static> {
    Payment {
        tx_id: format!("tx-{card}-{nth}").into(),
        card_number: format!("4000{card:012}").into(),
        user_id: "u".into(),
        tier: Tier::Normal,
        amount,
        merchant: "m".into(),
        category: "coffee".into(),
        created_at_ms: at_ms,
    }
}

fn screen() -> Screen {
    Screen::new(Arc::new(Ruleset::default()), true).unwrap()
}

/// What a store that holds `payments` tells of their card.
fn history(payments: &[Payment<'_>]) -> History {
    let mut latest: Vec<&Payment<'_>> = payments.iter().collect();
    latest.sort_by_key(|payment| payment.created_at_ms);
    let recent = latest
        .split_off(latest.len().saturating_sub(RECENT_MAX))
        .into_iter()
        .map(|one| Recent { tx_id: one.tx_id.to_string(), created_at_ms: one.created_at_ms })
        .collect();
    let sum = payments.iter().map(|payment| i128::from(payment.amount)).sum();
    History { count: payments.len() as u64, sum, recent }
}

#[test]
fn an_unknown_card_is_not_screened() {
    let mut screen = self::screen();
    assert_eq!(screen.screen(number(1), &payment(1, 0, 0, 1)), None);
    screen.insert(number(1), Fingerprint([7; 16]), &History::default(), Ownership::default());
    let verdict = screen.screen(number(1), &payment(1, 0, 0, 1)).unwrap();
    assert_eq!(verdict, Verdict { fingerprint: Fingerprint([7; 16]), hits: vec![], repeat: false });
    assert!(screen.screen(number(1), &payment(1, 0, 0, 1)).unwrap().repeat);
}

#[test]
fn unknown_is_new_until_a_card_is_forgotten_or_dropped() {
    let mut one = screen();
    assert!(one.unknown_is_new());
    one.insert(number(1), Fingerprint([0; 16]), &History::default(), Ownership::default());
    one.trim(1);
    assert!(one.unknown_is_new());
    one.insert(number(2), Fingerprint([0; 16]), &History::default(), Ownership::default());
    assert!(
        one.knows(number(1), Ownership::default()) && one.knows(number(2), Ownership::default()),
        "a batch fits until it is trimmed"
    );
    one.trim(1);
    assert_eq!(one.len(), 1);
    assert!(!one.unknown_is_new());
    let mut other = self::screen();
    other.forget(number(1));
    assert!(!other.unknown_is_new());
}

#[test]
fn cards_in_use_outlive_those_that_are_not() {
    let mut screen = self::screen();
    for card in 0..100 {
        screen.insert(
            number(card),
            Fingerprint([0; 16]),
            &History::default(),
            Ownership::default(),
        );
    }
    let mut dropped = 0;
    for card in 100..1_000 {
        for busy in 0..50 {
            if !screen.knows(number(busy), Ownership::default()) {
                dropped += 1;
                screen.insert(
                    number(busy),
                    Fingerprint([0; 16]),
                    &History::default(),
                    Ownership::default(),
                );
            }
        }
        screen.insert(
            number(card),
            Fingerprint([0; 16]),
            &History::default(),
            Ownership::default(),
        );
        screen.trim(100);
        assert_eq!(screen.len(), 100);
    }
    // On its first round the hand finds every card in use, and has to take one.
    assert!(dropped <= 1, "cards in use were dropped {dropped} times");
}

#[test]
fn inserting_a_known_card_replaces_what_was_known() {
    let mut screen = self::screen();
    let earlier: Vec<_> = (0..5).map(|nth| payment(1, nth, NOON_MS, 100)).collect();
    screen.insert(number(1), Fingerprint([0; 16]), &history(&earlier), Ownership::default());
    screen.insert(number(1), Fingerprint([0; 16]), &History::default(), Ownership::default());
    assert_eq!(screen.len(), 1);
    assert_eq!(screen.screen(number(1), &payment(1, 9, NOON_MS, 100_000)).unwrap().hits, vec![]);
}

#[test]
fn a_ruleset_out_of_bounds_is_refused() {
    let mut ruleset = Ruleset::default();
    ruleset.velocity.payments_min = 0;
    assert!(matches!(
        Screen::new(Arc::new(ruleset), true),
        Err(Error::Ruleset { field: "velocity.payments_min", .. })
    ));
}

fn streams() -> impl Strategy<Value = Vec<(usize, i64, i64)>> {
    let step_ms = prop_oneof![6 => 0..8_000_i64, 1 => 60_000..200_000_i64, 1 => -90_000..0_i64];
    let amount = prop_oneof![4 => 0..1_000_i64, 1 => 5_000..20_000_i64, 1 => Just(i64::MAX)];
    proptest::collection::vec((0..4_usize, step_ms, amount), 0..300)
}

fn stream(steps: &[(usize, i64, i64)]) -> Vec<Payment<'static>> {
    let mut at_ms = NOON_MS;
    let each = |(nth, &(card, step_ms, amount)): (usize, &(usize, i64, i64))| {
        at_ms += step_ms;
        payment(card, nth, at_ms, amount)
    };
    steps.iter().enumerate().map(each).collect()
}

proptest! {
    #[test]
    fn verdicts_do_not_depend_on_which_cards_are_forgotten_and_read_back(
        steps in streams(), lost in proptest::collection::vec((0..300_usize, 0..4_usize), 0..30),
        cards_max in 1..5_usize,
    ) {
        let payments = stream(&steps);
        let undisturbed = verdicts(&payments, &Ruleset::default()).unwrap();
        let mut screen = self::screen();
        for (nth, payment) in payments.iter().enumerate() {
            for (_, card) in lost.iter().filter(|(when, _)| *when == nth) {
                screen.forget(number(*card));
            }
            let number = Number::read(&payment.card_number).unwrap();
            if !screen.knows(number, Ownership::default()) {
                let earlier: Vec<_> = payments[..nth]
                    .iter()
                    .filter(|earlier| earlier.card_number == payment.card_number)
                    .cloned()
                    .collect();
                prop_assert!(!screen.unknown_is_new() || earlier.is_empty());
                screen.insert(number, Fingerprint([0; 16]), &history(&earlier), Ownership::default());
            }
            let verdict = screen.screen(number, payment).unwrap();
            prop_assert!(!verdict.repeat);
            prop_assert_eq!(&verdict.hits, &undisturbed[nth]);
            screen.trim(cards_max);
            prop_assert!(screen.len() <= cards_max);
        }
    }

    #[test]
    fn velocity_and_spike_agree_with_counting_the_whole_list(mut steps in streams()) {
        // In order of event time nothing that could matter is ever dropped, so that the plain
        // definition over all payments must hold.
        for step in &mut steps {
            step.1 = step.1.abs();
        }
        let payments = stream(&steps);
        let verdicts = verdicts(&payments, &Ruleset::default()).unwrap();
        for (nth, hits) in verdicts.iter().enumerate() {
            let this = &payments[nth];
            let earlier: Vec<_> =
                payments[..nth].iter().filter(|one| one.card_number == this.card_number).collect();
            let after_ms = this.created_at_ms - 60_000;
            let in_window = earlier.iter().filter(|one| one.created_at_ms > after_ms).count();
            let sum: i128 = earlier.iter().map(|one| i128::from(one.amount)).sum();
            let fired = |rule| hits.iter().any(|hit| hit.rule == rule);
            prop_assert_eq!(fired(Rule::Velocity), in_window >= 4);
            let spike = earlier.len() >= 5
                && this.amount > 0
                && i128::from(this.amount) * earlier.len() as i128 >= 10 * sum;
            prop_assert_eq!(fired(Rule::AmountSpike), spike);
        }
    }
}

/// The bound of [`crate::Reach`] for the default rules, as a producer meets it.
#[test]
fn velocity_of_a_late_payment_fires_within_its_reach_and_may_not_behind_it() {
    let reach = crate::Reach { late_ms_max: 60_000, payments_max: RECENT_MAX, always: 8 };
    assert_eq!(Ruleset::default().reach(), reach);
    let fires = |newer_s: &[i64]| {
        let seconds = [0, 1, 2, 3].iter().chain(newer_s).chain(&[4]).enumerate();
        let payments = seconds.map(|(nth, second)| payment(1, nth, NOON_MS + 1_000 * second, 1));
        let verdicts = verdicts(payments, &Ruleset::default()).unwrap();
        verdicts.last().unwrap().iter().any(|hit| hit.rule == Rule::Velocity)
    };
    // One window late, with eight payments in between.
    assert!(fires(&[57, 58, 59, 60, 61, 62, 63, 64]));
    // Later than that, with four of the last eight in its window, and then with none.
    assert!(fires(&[200, 300, 400, 500]));
    assert!(!fires(&[200, 300, 400, 500, 600, 700, 800, 900]));
}
