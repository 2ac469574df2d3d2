use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::event::PAYLOAD_BYTES_MAX;

/// 2026-05-01T00:30:00Z.
const NOW_MS: EpochMs = 1_777_595_400_000;
const CARD: &str = "4000123412341234";

/// A good payment in which `field` has the JSON value `value`; an empty value leaves the field out.
fn with(field: &str, value: &str) -> String {
    let fields = [
        ("tx_id", "\"tx-1\""),
        ("card_number", "\"4000123412341234\""),
        ("user_id", "\"u-7\""),
        ("tier", "\"premium\""),
        ("amount", "12000"),
        ("merchant", "\"한강 Coffee\""),
        ("category", "\"coffee\""),
        ("created_at", "\"2026-05-01T09:30:00+09:00\""),
    ];
    let parts: Vec<String> = fields
        .iter()
        .map(|&(name, good)| (name, if name == field { value } else { good }))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// Parses `json`; `expect` is empty for a good payment, else how the refusal begins.
#[track_caller]
fn check(json: impl AsRef<[u8]>, expect: &str) {
    let got = Payment::parse(json.as_ref(), NOW_MS).err().map(|reject| reject.to_string());
    match (&got, expect) {
        (None, "") => {}
        (Some(got), expect) if !expect.is_empty() && got.starts_with(expect) => {
            let digits = got.bytes().filter(u8::is_ascii_digit).count();
            assert!(!got.contains(CARD) && digits < 40, "a refusal repeats a value: {got}");
        }
        _ => panic!("got {got:?}, expected {expect:?}"),
    }
}

fn quoted(text: &str, times: usize) -> String {
    format!("\"{}\"", text.repeat(times))
}

#[test]
fn a_good_payment_is_read_field_by_field_and_borrowed() {
    let json = with("", "");
    let payment = Payment::parse(json.as_bytes(), NOW_MS).unwrap();
    let expect = Payment {
        tx_id: "tx-1".into(),
        card_number: CARD.into(),
        user_id: "u-7".into(),
        tier: Tier::Premium,
        amount: 12_000,
        merchant: "한강 Coffee".into(),
        category: "coffee".into(),
        created_at_ms: NOW_MS,
    };
    assert_eq!(payment, expect);
    assert!(matches!(payment.tx_id, Cow::Borrowed(_)));
    assert!(matches!(payment.merchant, Cow::Borrowed(_)));
}

#[test]
fn unknown_fields_escapes_and_space_around_are_tolerated() {
    check(with("tier", "\"vip\", \"extra\": {\"a\": [1, null, 1e3]}"), "");
    check(format!(" \r\n\t{}\n", with("", "")), "");
    let json = with("merchant", r#""a\"b\u00e9""#);
    assert_eq!(Payment::parse(json.as_bytes(), NOW_MS).unwrap().merchant, "a\"bé");
}

#[test]
fn a_currency_other_than_won_is_refused_by_its_field() {
    let with_currency =
        |currency: &str| with("tier", &format!("\"vip\", \"currency\": {currency}"));
    check(with_currency("\"KRW\""), "");
    check(with_currency("null"), "");
    let expect = "currency: is not KRW; send amounts in KRW, or leave the field out";
    check(with_currency("\"USD\""), expect);
    check(with_currency("\"krw\""), expect);
    check(with_currency("410"), "currency: is a number; must be a string in quotes");
    check(with_currency("\"KRW\", \"currency\": \"USD\""), "currency: is given twice");
}

#[test]
fn what_is_not_a_json_object_is_refused_as_an_event() {
    check("", "event: is empty; send one JSON object");
    check(" \n", "event: is empty");
    // What is longer was cut off by a buffer: the end that is missing is not the producer's fault.
    let cut = format!("{{\"x\":\"{}", "y".repeat(crate::event::PAYLOAD_BYTES_MAX - 6));
    check(&cut[..], "event: ends after 65536 bytes, the most an event may have");
    check(&cut[..cut.len() - 1], "event: is not JSON");
    check("{", "event: is not JSON");
    check("nonsense", "event: is not JSON");
    check(format!("{} {{}}", with("", "")), "event: is not JSON");
    check("[1]", "event: is not a JSON object");
    check("\"4000123412341234\"", "event: is not a JSON object");
    let array = r#"["t","4000123412341234","u","vip",1,"m","c",1777595400000]"#;
    check(array, "event: is not a JSON object");
}

#[test]
fn invalid_utf_8_is_refused_even_in_an_unknown_field() {
    check(b"\xff\xfe", "event: is not UTF-8 at byte 0");
    let mut json = with("tier", "\"vip\", \"extra\": \"?\"").into_bytes();
    let at = json.iter().position(|&byte| byte == b'?').unwrap();
    json[at] = 0xff;
    check(json, &format!("event: is not UTF-8 at byte {at}"));
}

#[test]
fn an_event_past_64_kib_is_refused_at_one_byte_more() {
    let mut json = with("", "").into_bytes();
    json.resize(PAYLOAD_BYTES_MAX, b' ');
    check(&json, "");
    json.push(b' ');
    check(&json, "event: is 65537 bytes; send at most 65536");
}

#[test]
fn a_missing_null_mistyped_or_repeated_field_is_named() {
    for field in
        ["tx_id", "card_number", "user_id", "tier", "amount", "merchant", "category", "created_at"]
    {
        check(with(field, ""), &format!("{field}: is missing; a payment has tx_id"));
        check(with(field, "null"), &format!("{field}: is null; "));
        check(with(field, "[4000123412341234]"), &format!("{field}: is an array; "));
        check(with(field, "true"), &format!("{field}: is true or false; "));
        let twice = with("", "").replacen('{', &format!("{{\"{field}\": 1, "), 1);
        check(&twice, &format!("{field}: is given twice"));
    }
    check(with("card_number", CARD), "card_number: is a number; must be a string in quotes");
    check(with("tx_id", "{}"), "tx_id: is an object; must be a string");
    check(with("tier", "{\"vip\": null}"), "tier: is an object");
    check(with("amount", "\"5\""), "amount: is a string; must be a whole number without quotes");
}

#[test]
fn a_name_that_is_no_payments_is_given_once_too() {
    let expect = "event: gives a field twice, at line 1, column ";
    for others in [
        r#""order": 1, "order": 2"#,
        r#""order": 1, "a": {}, "ord\u0065r": {}"#,
        r#""4000123412341234": 1, "4000123412341234": 1"#,
    ] {
        check(with("tier", &format!("\"vip\", {others}")), expect);
    }
    check(with("tier", r#""vip", "order": 1, "Order": 2, "x": {"order": 1, "order": 2}"#), "");
}

#[test]
fn one_byte_order_mark_in_front_is_passed_over() {
    let json = with("", "");
    let event = Payment::to_event(format!("\u{feff}{json}").as_bytes(), NOW_MS).unwrap();
    assert_eq!(event, Payment::to_event(json.as_bytes(), NOW_MS).unwrap());
    check(format!("\u{feff}\u{feff}{json}"), "event: is not JSON");
    check(format!(" \u{feff}{json}"), "event: is not JSON");
}

#[test]
fn the_first_wrong_field_is_named_when_one_of_a_wrong_type_follows() {
    let json = with("tx_id", "\"\"").replace("12000", "1.5");
    check(json, "tx_id: is 0 bytes");
}

#[test]
fn text_is_bounded_in_bytes_and_printable() {
    for (field, max) in [("tx_id", 64), ("user_id", 100), ("merchant", 100), ("category", 100)] {
        check(with(field, "\"\""), &format!("{field}: is 0 bytes; must be 1 to {max}"));
        check(with(field, &quoted("x", 1)), "");
        check(with(field, &quoted("x", max)), "");
        check(with(field, &quoted("x", max + 1)), &format!("{field}: is {} bytes", max + 1));
        check(with(field, &quoted("é", max / 2)), "");
        check(with(field, &quoted("é", max / 2 + 1)), &format!("{field}: is {} bytes", max + 2));
        for control in [r#""\u0000""#, r#""a\n""#, "\"\u{7f}\"", "\"é\u{85}\"", r#""é\u0001""#] {
            check(with(field, control), &format!("{field}: holds a control character"));
        }
    }
}

#[test]
fn a_card_number_is_12_to_19_digits_and_never_repeated() {
    for digits in [12, 16, 19] {
        check(with("card_number", &quoted("4", digits)), "");
    }
    for wrong in
        ["11111111111", "11111111111111111111", "", "4000-1234-1234-1234", "4000123412341234 "]
    {
        let json = with("card_number", &quoted(wrong, 1));
        check(json, "card_number: must be 12 to 19 digits, nothing else");
    }
    check(
        with("card_number", "\"４０００１２３４１２３４\""),
        "card_number: must be 12 to 19 digits",
    );
    check(with("tier", &quoted(CARD, 1)), "tier: is unknown; must be one of vip, premium, normal");
    check(with("created_at", &quoted(CARD, 1)), "created_at: is a number in quotes");
}

#[test]
fn debug_output_holds_no_card_number() {
    let json = with("", "");
    let payment = Payment::parse(json.as_bytes(), NOW_MS).unwrap();
    assert!(!format!("{payment:?}").contains(CARD));
}

#[test]
fn tiers_are_exact() {
    for tier in ["vip", "premium", "normal"] {
        check(with("tier", &quoted(tier, 1)), "");
        assert_eq!(Tier::named(tier).unwrap().name(), tier);
    }
    check(with("tier", "\"VIP\""), "tier: is unknown; must be one of vip, premium, normal");
}

#[test]
fn an_amount_is_a_whole_number_from_0_to_the_largest_i64() {
    check(with("amount", "0"), "");
    check(with("amount", "9223372036854775807"), "");
    check(with("amount", "9223372036854775808"), "amount: is too large");
    check(with("amount", "18446744073709551616"), "amount: is too large");
    check(with("amount", "1e300"), "amount: is too large");
    check(with("amount", "-1"), "amount: is negative");
    check(with("amount", "-9223372036854775809"), "amount: is negative");
    check(with("amount", "-0.5"), "amount: is negative");
    check(with("amount", "1.5"), "amount: has a fraction");
    check(with("amount", "1e3"), "amount: has a fraction or an exponent");
}

#[test]
fn event_time_is_rfc_3339_or_epoch_milliseconds() {
    for good in [
        "1777595400000",
        "\"2026-05-01T00:30:00Z\"",
        "\"2026-05-01T00:30:00.123456789Z\"",
        "\"2026-05-01T09:30:00+09:00\"",
    ] {
        check(with("created_at", good), "");
    }
    check(
        with("created_at", "\"yesterday\""),
        "created_at: can't be read as a time; send RFC 3339",
    );
    check(with("created_at", "\"2026-05-01T00:30:00\""), "created_at: has no time zone");
    check(with("created_at", "\"1777595400000\""), "created_at: is a number in quotes");
    check(with("created_at", "1777595400000.5"), "created_at: is not a whole number");
    check(with("created_at", "9223372036854775808"), "created_at: is not a whole number");
}

#[test]
fn event_time_decades_off_is_refused_at_one_millisecond_more() {
    let at = |at_ms: i64| with("created_at", &at_ms.to_string());
    check(at(NOW_MS - AGE_MS_MAX), "");
    check(at(NOW_MS - AGE_MS_MAX - 1), "created_at: lies more than 20 years back; send");
    check(at(NOW_MS + AHEAD_MS_MAX), "");
    check(at(NOW_MS + AHEAD_MS_MAX + 1), "created_at: lies more than 24 hours ahead; send");
    check(with("created_at", "\"1999-01-01T00:00:00Z\""), "created_at: lies more than 20 years");
    check(at(NOW_MS / 1000), "created_at: lies more than 20 years back: looks like seconds; milli");
    check(at(NOW_MS * 1000), "created_at: lies more than 24 hours ahead: looks like microseconds");
    check(at(NOW_MS * 1_000_000), "created_at: lies more than 24 hours ahead: looks like nanosec");
    check(at(i64::MIN), "created_at: lies more than 20 years back");
}

#[test]
fn an_event_has_the_payments_identity_and_key_and_the_json_as_it_came() {
    let json = format!("  {}", with("", ""));
    let event = Payment::to_event(json.as_bytes(), NOW_MS).unwrap();
    assert_eq!(event.id(), b"tx-1");
    assert_eq!(event.key(), CARD.as_bytes());
    assert_eq!(event.payload(), json.as_bytes());
    assert_eq!(Payment::to_event(b"{}", NOW_MS).unwrap_err().field, "tx_id");
}

fn text(bytes_max: usize) -> impl Strategy<Value = Cow<'static, str>> {
    proptest::collection::vec(proptest::char::any(), 1..40).prop_map(move |chars| {
        let mut text: String = chars.into_iter().filter(|c| !c.is_control()).collect();
        text.push('x');
        while text.len() > bytes_max {
            text.remove(0);
        }
        Cow::Owned(text)
    })
}

fn payments() -> impl Strategy<Value = Payment<'static>> {
    let tier = prop_oneof![Just(Tier::Vip), Just(Tier::Premium), Just(Tier::Normal)];
    let card = "[0-9]{12,19}";
    let time = NOW_MS - AGE_MS_MAX..=NOW_MS + AHEAD_MS_MAX;
    (text(64), card, text(100), tier, 0..=i64::MAX, text(100), text(100), time).prop_map(
        |(tx_id, card_number, user_id, tier, amount, merchant, category, created_at_ms)| Payment {
            tx_id,
            card_number: card_number.into(),
            user_id,
            tier,
            amount,
            merchant,
            category,
            created_at_ms,
        },
    )
}

proptest! {
    #[test]
    fn a_written_payment_reads_back_equal(payment in payments()) {
        let mut json = Vec::new();
        payment.to_json(&mut json);
        prop_assert!(!json.contains(&b'\n'));
        let back = Payment::parse(&json, NOW_MS).map(Payment::into_owned);
        prop_assert_eq!(back, Ok(payment));
    }

    #[test]
    fn reading_never_panics_on_bytes(bytes: Vec<u8>, now_ms: i64) {
        let _ = Payment::parse(&bytes, now_ms);
    }

    #[test]
    fn reading_never_panics_on_a_damaged_payment(
        at in 0_usize..200, byte: u8, cut in 0_usize..300, now_ms: i64,
    ) {
        let mut json = with("", "").into_bytes();
        let at = at % json.len();
        json[at] = byte;
        json.truncate(cut);
        if let Err(reject) = Payment::parse(&json, now_ms) {
            prop_assert!(!reject.to_string().contains(CARD));
        }
    }
}
