use model::Payment;
use model::payment::Tier;

use crate::ruleset::Ruleset;
use crate::verdicts;

/// 2026-05-01T12:00:00+09:00: no dawn.
const NOON_MS: i64 = 1_777_604_400_000;

fn payment(nth: usize, at_ms: i64, amount: i64) -> Payment<'static> {
    Payment {
        tx_id: format!("tx-{nth}").into(),
        card_number: "4000123412341234".into(),
        user_id: "u-1".into(),
        tier: Tier::Normal,
        amount,
        merchant: "m".into(),
        category: "coffee".into(),
        created_at_ms: at_ms,
    }
}

/// Screens `payments` of one card in order; `expect` is what the last one is flagged for, each hit
/// as `rule observed/threshold`.
#[track_caller]
fn check_with(ruleset: &Ruleset, payments: &[Payment<'_>], expect: &str) {
    let hits = verdicts(payments, ruleset).unwrap().pop().unwrap();
    let got: Vec<String> = hits
        .iter()
        .map(|hit| format!("{} {}/{}", hit.rule.name(), hit.observed, hit.threshold))
        .collect();
    assert_eq!(got.join(", "), expect);
}

#[track_caller]
fn check(payments: &[Payment<'_>], expect: &str) {
    check_with(&Ruleset::default(), payments, expect);
}

/// Payments of 1,000 KRW at these milliseconds from noon.
fn at(offsets_ms: &[i64]) -> Vec<Payment<'static>> {
    let each = |(nth, offset_ms): (usize, &i64)| payment(nth, NOON_MS + offset_ms, 1_000);
    offsets_ms.iter().enumerate().map(each).collect()
}

/// Payments of these amounts, an hour apart.
fn of(amounts: &[i64]) -> Vec<Payment<'static>> {
    let mut at_ms = NOON_MS - 3_600_000 * i64::try_from(amounts.len()).unwrap();
    let each = |(nth, &amount)| {
        at_ms += 3_600_000;
        payment(nth, at_ms, amount)
    };
    amounts.iter().enumerate().map(each).collect()
}

#[test]
fn velocity_fires_at_the_fifth_payment_and_not_at_the_fourth() {
    check(&at(&[0, 1, 2, 3]), "");
    check(&at(&[0, 1, 2, 3, 4]), "velocity 5/5");
    check(&at(&[0, 1, 2, 3, 4, 5]), "velocity 6/5");
    check(&at(&[7, 7, 7, 7, 7]), "velocity 5/5");
}

#[test]
fn velocity_leaves_out_what_is_a_whole_window_old() {
    check(&at(&[1, 2, 3, 4, 60_000]), "velocity 5/5");
    check(&at(&[0, 2, 3, 4, 60_000]), "");
    check(&at(&[0, 1, 2, 3, 60_000, 60_000]), "velocity 5/5");
}

#[test]
fn velocity_of_a_late_payment_counts_up_to_its_own_time() {
    check(&at(&[0, 1, 2, 10, 20, 3]), "");
    check(&at(&[0, 1, 2, 3, 10, 20, 3]), "velocity 5/5");
    check(&at(&[0, 100_000, 100_001, 100_002, 100_003, 1]), "");
}

#[test]
fn a_repeated_payment_is_one_payment() {
    let mut payments = at(&[0, 1, 2, 3, 4]);
    payments[3].tx_id = "tx-1".into();
    check(&payments, "");
    let mut again = at(&[0, 1, 2, 3, 4, 4]);
    again[5].tx_id = "tx-4".into();
    check(&again, "velocity 5/5");
}

#[test]
fn other_cards_do_not_count() {
    let mut payments = at(&[0, 1, 2, 3, 4]);
    payments[0].card_number = "04000123412341234".into();
    check(&payments, "");
}

#[test]
fn an_amount_spike_fires_at_ten_times_the_mean_and_not_at_one_won_less() {
    check(&of(&[100, 200, 300, 400, 500, 3_000]), "amount_spike 3000/3000");
    check(&of(&[100, 200, 300, 400, 500, 2_999]), "");
    // The mean is 300.2: ten times that is 3,002.
    check(&of(&[100, 200, 300, 400, 501, 3_001]), "");
    check(&of(&[100, 200, 300, 400, 501, 3_002]), "amount_spike 3002/3002");
    // Over seven, the mean is 214.28…: ten times that is 2,142.85….
    check(&of(&[100, 200, 300, 400, 500, 0, 0, 2_142]), "");
    check(&of(&[100, 200, 300, 400, 500, 0, 0, 2_143]), "amount_spike 2143/2143");
}

#[test]
fn an_amount_spike_needs_five_earlier_payments() {
    check(&of(&[100, 100, 100, 100, 100_000]), "");
    check(&of(&[100, 100, 100, 100, 100, 100_000]), "amount_spike 100000/1000");
}

#[test]
fn an_amount_spike_over_nothing_takes_one_won() {
    check(&of(&[0, 0, 0, 0, 0, 0]), "");
    check(&of(&[0, 0, 0, 0, 0, 1]), "amount_spike 1/1");
}

#[test]
fn an_amount_spike_is_exact_at_the_largest_amounts() {
    let max = i64::MAX;
    let quiet = Ruleset { dawn_high_amount: off(), ..Ruleset::default() };
    check_with(&quiet, &of(&[max, max, max, max, max, max]), "");
    let ruleset: Ruleset = toml::from_str("amount_spike.factor_permille = 1000").unwrap();
    let payments = of(&[max, max, max, max, max, max]);
    check_with(&ruleset, &payments, &format!("amount_spike {max}/{max}"));
    check_with(&ruleset, &of(&[max, max, max, max, max, max - 1]), "");
}

fn off() -> crate::DawnHighAmount {
    crate::DawnHighAmount { enabled: false, ..crate::DawnHighAmount::default() }
}

#[test]
fn dawn_is_from_midnight_to_six_in_seoul() {
    let midnight_ms = NOON_MS - 12 * 3_600_000;
    let six_ms = NOON_MS - 6 * 3_600_000;
    let high = "dawn_high_amount 5000000/5000000";
    check(&[payment(0, midnight_ms - 1, 5_000_000)], "");
    check(&[payment(0, midnight_ms, 5_000_000)], high);
    check(&[payment(0, six_ms - 1, 5_000_000)], high);
    check(&[payment(0, six_ms, 5_000_000)], "");
    check(&[payment(0, midnight_ms, 4_999_999)], "");
    check(&[payment(0, midnight_ms, 5_000_001)], "dawn_high_amount 5000001/5000000");
}

#[test]
fn dawn_can_go_over_midnight_and_lie_in_another_zone() {
    let toml = "[dawn_high_amount]\nfrom_hour = 22\nto_hour = 4\ntime_zone = 'UTC'";
    let ruleset: Ruleset = toml::from_str(toml).unwrap();
    let high = "dawn_high_amount 5000000/5000000";
    let midnight_ms = NOON_MS + 21 * 3_600_000;
    let hour_ms = 3_600_000;
    for (at_ms, expect) in [
        (midnight_ms - 2 * hour_ms - 1, ""),
        (midnight_ms - 2 * hour_ms, high),
        (midnight_ms + 4 * hour_ms - 1, high),
        (midnight_ms + 4 * hour_ms, ""),
    ] {
        check_with(&ruleset, &[payment(0, at_ms, 5_000_000)], expect);
    }
}

#[test]
fn an_unusual_category_is_luxury_of_ten_million_by_a_normal_payer() {
    let luxury = |tier, amount, category: &'static str| Payment {
        tier,
        category: category.into(),
        ..payment(0, NOON_MS, amount)
    };
    let hit = "unusual_category 10000000/10000000";
    check(&[luxury(Tier::Normal, 10_000_000, "luxury")], hit);
    check(&[luxury(Tier::Normal, 9_999_999, "luxury")], "");
    check(&[luxury(Tier::Premium, 10_000_000, "luxury")], "");
    check(&[luxury(Tier::Vip, 10_000_000, "luxury")], "");
    check(&[luxury(Tier::Normal, 10_000_000, "Luxury")], "");
}

/// A payment for which every rule fires.
fn worst() -> Vec<Payment<'static>> {
    let mut payments = at(&[0, 1, 2, 3, 4, 5]);
    for payment in &mut payments {
        payment.created_at_ms -= 9 * 3_600_000;
    }
    payments[5].amount = 10_000_000;
    payments[5].category = "luxury".into();
    payments
}

#[test]
fn all_rules_run_and_hits_come_in_rule_order() {
    let all = "velocity 6/5, amount_spike 10000000/10000, \
               dawn_high_amount 10000000/5000000, unusual_category 10000000/10000000";
    check(&worst(), all);
}

#[test]
fn a_rule_switched_off_never_fires() {
    let all = verdicts(worst(), &Ruleset::default()).unwrap().pop().unwrap();
    for rule in crate::Rule::ALL {
        let toml = format!("{}.enabled = false", rule.name());
        let ruleset: Ruleset = toml::from_str(&toml).unwrap();
        let hits = verdicts(worst(), &ruleset).unwrap().pop().unwrap();
        let others: Vec<_> = all.iter().filter(|hit| hit.rule != rule).cloned().collect();
        assert_eq!((hits.len(), &hits), (3, &others));
    }
}

#[test]
fn every_threshold_can_be_set() {
    let ruleset: Ruleset = toml::from_str(
        "velocity = { payments_min = 2, window_ms = 10 }
         amount_spike = { factor_permille = 1500, earlier_min = 1 }
         dawn_high_amount = { amount_min = 1, from_hour = 12, to_hour = 13 }
         unusual_category = { tier = 'vip', category = 'coffee', amount_min = 2 }",
    )
    .unwrap();
    check_with(&ruleset, &[payment(0, NOON_MS, 0)], "");
    let two = [payment(0, NOON_MS, 2), Payment { tier: Tier::Vip, ..payment(1, NOON_MS + 9, 3) }];
    let hits = "velocity 2/2, amount_spike 3/3, dawn_high_amount 3/1, unusual_category 3/2";
    check_with(&ruleset, &two, hits);
    check_with(
        &ruleset,
        &[payment(0, NOON_MS, 2), payment(1, NOON_MS + 10, 2)],
        "dawn_high_amount 2/1",
    );
}

#[test]
fn hits_explain_themselves_in_json_and_in_words() {
    let hits = verdicts(worst(), &Ruleset::default()).unwrap().pop().unwrap();
    let expect = concat!(
        r#"[{"rule":"velocity","observed":6,"threshold":5,"basis":{"window_ms":60000}},"#,
        r#"{"rule":"amount_spike","observed":10000000,"threshold":10000,"basis":"#,
        r#"{"factor_permille":10000,"earlier_count":5,"earlier_sum":5000}},"#,
        r#"{"rule":"dawn_high_amount","observed":10000000,"threshold":5000000,"basis":"#,
        r#"{"local_time":"03:00:00","time_zone":"Asia/Seoul","from_hour":0,"to_hour":6}},"#,
        r#"{"rule":"unusual_category","observed":10000000,"threshold":10000000,"basis":"#,
        r#"{"tier":"normal","category":"luxury"}}]"#,
    );
    assert_eq!(serde_json::to_string(&hits).unwrap(), expect);
    let words: Vec<String> = hits.iter().map(ToString::to_string).collect();
    let expect = [
        "velocity: 6 payments within 60000 ms, flagged from 5",
        "amount_spike: 10000000 KRW, flagged from 10000 KRW, which is 10.000 times the mean of \
         5 earlier payments",
        "dawn_high_amount: 10000000 KRW at 03:00:00 in Asia/Seoul, flagged from 5000000 KRW",
        "unusual_category: 10000000 KRW for luxury by tier normal, flagged from 10000000 KRW",
    ];
    assert_eq!(words, expect);
}
