//! What the stream as a whole promises.

use std::collections::HashMap;

use model::Payment;
use model::clock::EpochMs;
use model::payment::Tier;

use super::category::{Category, Size};
use super::{EventTime, Generator, Kind, Options};
use crate::score::{Labels, Scorer};

const NOON: EpochMs = 1_772_420_400_000; // 2026-03-02T12:00 in Asia/Seoul
const MADE: usize = 100_000;

/// A hundred thousand payments over three days of event time, handed to `look` one by one.
fn each(options: &Options, mut look: impl FnMut(&Payment<'_>, Option<Kind>, EpochMs)) {
    let mut generator = Generator::new(options).unwrap();
    for n in 0..MADE {
        let now_ms = NOON + i64::try_from(n).unwrap() * 2_592;
        let generated = generator.payment(now_ms);
        look(&generated.payment, generated.label, now_ms);
    }
}

fn check_share(what: &str, count: usize, of: usize, expected: f64, tolerance: f64) {
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let share = count as f64 / of as f64;
    assert!((share - expected).abs() <= tolerance, "{what}: {share}, expected {expected}");
}

#[test]
fn tiers_pay_as_often_as_there_are_users_of_them() {
    let mut tiers = HashMap::new();
    each(&Options::default(), |payment, _, _| *tiers.entry(payment.tier).or_insert(0) += 1);
    check_share("vip", tiers[&Tier::Vip], MADE, 0.02, 0.004);
    check_share("premium", tiers[&Tier::Premium], MADE, 0.13, 0.01);
    check_share("normal", tiers[&Tier::Normal], MADE, 0.85, 0.01);
}

#[test]
fn seventy_percent_of_amounts_are_small_and_five_percent_high() {
    let (mut small, mut middle, mut high) = (0, 0, 0);
    each(&Options { fraud_share: 0.0, ..Options::default() }, |payment, _, _| {
        let category = Category::named(&payment.category).unwrap();
        match category.size(payment.amount).expect("plain amounts are within their category") {
            Size::Small => small += 1,
            Size::Middle => middle += 1,
            Size::High => high += 1,
        }
    });
    check_share("small", small, MADE, 0.70, 0.01);
    check_share("middle", middle, MADE, 0.25, 0.01);
    check_share("high", high, MADE, 0.05, 0.005);
}

#[test]
fn all_ten_categories_are_paid_for_and_none_outside_its_hours() {
    let mut seen = HashMap::new();
    each(&Options { fraud_share: 0.05, ..Options::default() }, |payment, label, now_ms| {
        let category = Category::named(&payment.category).unwrap();
        assert!(category.is_open(payment.created_at_ms), "{payment:?} {label:?}");
        assert!(payment.created_at_ms <= now_ms);
        *seen.entry(category.name).or_insert(0) += 1;
    });
    assert_eq!(seen.len(), 10);
    assert!(seen.values().all(|&count| count > MADE / 1_000), "{seen:?}");
}

#[test]
fn each_kind_of_fraud_has_its_quarter_of_the_share() {
    let mut kinds = HashMap::new();
    each(&Options { fraud_share: 0.008, ..Options::default() }, |_, label, _| {
        if let Some(kind) = label {
            *kinds.entry(kind).or_insert(0) += 1;
        }
    });
    for kind in Kind::ALL {
        check_share(kind.name(), kinds[&kind], MADE, 0.002, 0.0002);
    }
}

/// The four rules, written a second time and naively.
#[derive(Default)]
struct Naive {
    cards: HashMap<String, Vec<(EpochMs, i64)>>,
}

impl Naive {
    fn screen(&mut self, payment: &Payment<'_>) -> Vec<Kind> {
        let earlier = self.cards.entry(payment.card_number.to_string()).or_default();
        let mut hits = Vec::new();
        let at_ms = payment.created_at_ms;
        let close = earlier.iter().filter(|(ms, _)| (at_ms - 60_000 + 1..=at_ms).contains(ms));
        if close.count() >= 4 {
            hits.push(Kind::Velocity);
        }
        let sum: i64 = earlier.iter().map(|(_, amount)| amount).sum();
        let count = i64::try_from(earlier.len()).unwrap();
        if count >= 5 && payment.amount * count >= 10 * sum {
            hits.push(Kind::AmountSpike);
        }
        let seoul = (at_ms + 9 * 3_600_000).rem_euclid(86_400_000);
        if seoul < 6 * 3_600_000 && payment.amount >= 5_000_000 {
            hits.push(Kind::DawnHighAmount);
        }
        if payment.tier == Tier::Normal
            && payment.category == "luxury"
            && payment.amount >= 10_000_000
        {
            hits.push(Kind::UnusualCategory);
        }
        earlier.push((at_ms, payment.amount));
        hits
    }
}

#[test]
fn labelled_payments_break_the_rule_they_are_labelled_with_and_plain_ones_break_none() {
    let (mut naive, mut plain_hits, mut labelled) = (Naive::default(), 0, 0);
    each(&Options { fraud_share: 0.01, ..Options::default() }, |payment, label, _| {
        let hits = naive.screen(payment);
        match label {
            Some(kind) => {
                labelled += 1;
                assert!(hits.contains(&kind), "{kind:?} not in {hits:?}: {payment:?}");
            }
            None => plain_hits += usize::from(!hits.is_empty()),
        }
    });
    // A plain payment may still trip a rule once its redraws are used up.
    assert!(labelled > 900 && plain_hits <= 20, "{labelled} labelled, {plain_hits} plain hits");
}

#[test]
fn screening_finds_every_labelled_fraud_and_hardly_anything_else() {
    let (mut payments, mut labels) = (Vec::new(), Labels::default());
    each(&Options::default(), |payment, label, _| {
        labels.add(payment.tx_id.as_bytes(), label);
        payments.push(payment.clone().into_owned());
    });
    let verdicts = fraud::verdicts(&payments, &fraud::Ruleset::default()).unwrap();
    let mut scorer = Scorer::new(&labels);
    for (payment, hits) in payments.iter().zip(&verdicts) {
        scorer.settled(payment.tx_id.as_bytes(), hits.iter().map(|hit| hit.rule.name()));
    }
    let scores = scorer.finish();
    assert_eq!(scores.values().map(|score| score.labelled).sum::<u64>(), labels.len() as u64);
    for (kind, score) in scores {
        assert!(score.labelled > 100 && score.recall >= 1.0, "{kind}: {score:?}");
        assert!(score.precision >= 0.97, "{kind}: {score:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let bytes = |seed| {
        let mut generator = Generator::new(&Options { seed, ..Options::default() }).unwrap();
        let events = (0..5_000).map(|n| generator.event(NOON + n * 100).0);
        events.flat_map(|event| event.as_bytes().to_vec()).collect::<Vec<u8>>()
    };
    assert!(bytes(7) == bytes(7));
    assert!(bytes(7) != bytes(8));
}

#[test]
fn a_run_id_changes_the_tx_ids_and_nothing_else() {
    let options = Options { run: Some("night-1".into()), ..Options::default() };
    let mut named = Generator::new(&options).unwrap();
    let mut plain = Generator::new(&Options::default()).unwrap();
    for n in 0..1_000 {
        let mut expected = plain.payment(NOON + n).payment;
        expected.tx_id = format!("night-1-{n:010}").into();
        assert_eq!(named.payment(NOON + n).payment, expected);
    }
}

#[test]
fn every_event_reads_back_as_the_payment_it_was_made_from() {
    let options = Options { fraud_share: 0.1, labelled_json: true, ..Options::default() };
    let mut events = Generator::new(&options).unwrap();
    let mut payments = Generator::new(&options).unwrap();
    let mut labels = 0;
    for n in 0..5_000 {
        let (event, label) = events.event(NOON + n * 2_000);
        let generated = payments.payment(NOON + n * 2_000);
        assert_eq!(Payment::parse(event.payload(), NOON + n * 2_000).unwrap(), generated.payment);
        assert_eq!(event.id(), generated.payment.tx_id.as_bytes());
        assert_eq!(event.key(), generated.payment.card_number.as_bytes());
        let json: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        assert_eq!(json.get("label").and_then(|label| label.as_str()), label.map(Kind::name));
        labels += usize::from(label.is_some());
    }
    assert!(labels > 400);
}

#[test]
fn at_two_thousand_a_second_calm_time_keeps_plain_traffic_plain_even_at_triple_rate() {
    let minute = std::time::Duration::from_secs(60);
    let time = EventTime::calm(NOON, minute, 2_000.0, 500);
    let mut generator =
        Generator::new(&Options { fraud_share: 0.0, ..Options::default() }).unwrap();
    let mut naive = Naive::default();
    let mut hits = 0;
    for n in 0..50_000 {
        let elapsed = std::time::Duration::from_secs_f64(f64::from(n) / 6_000.0);
        hits += naive.screen(&generator.payment(time.at(elapsed)).payment).len();
    }
    assert!(hits <= 10, "{hits}");
}

#[test]
fn options_out_of_bounds_are_refused() {
    let check = |options: Options| assert!(Generator::new(&options).is_err(), "{options:?}");
    check(Options { users: 0, ..Options::default() });
    check(Options { users: 1_000_001, ..Options::default() });
    check(Options { fraud_share: 0.21, ..Options::default() });
    check(Options { fraud_share: f64::NAN, ..Options::default() });
    check(Options { run: Some(String::new()), ..Options::default() });
    check(Options { run: Some("x".repeat(41)), ..Options::default() });
}
