//! Whatever the bytes, reading a payment ends in a payment within its bounds or in a refusal that
//! names a field. What was read is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::event::{ID_BYTES_MAX, PAYLOAD_BYTES_MAX};
use model::payment::{AGE_MS_MAX, AHEAD_MS_MAX, Payment, TEXT_BYTES_MAX};

/// The reader's clock, fixed so that a finding can be replayed: 2026-01-01T00:00:00Z.
const NOW_MS: i64 = 1_767_225_600_000;

const FIELDS: [&str; 9] = [
    "event",
    "tx_id",
    "card_number",
    "user_id",
    "tier",
    "amount",
    "merchant",
    "category",
    "created_at",
];

fuzz_target!(|json: &[u8]| {
    let payment = match Payment::parse(json, NOW_MS) {
        Ok(payment) => payment,
        Err(reject) => {
            assert!(FIELDS.contains(&reject.field), "a refusal names `{}`", reject.field);
            assert!(!reject.problem.is_empty(), "a refusal says what is wrong");
            return;
        }
    };
    assert!(json.len() <= PAYLOAD_BYTES_MAX);
    assert!((1..=ID_BYTES_MAX).contains(&payment.tx_id.len()));
    for text in [&payment.user_id, &payment.merchant, &payment.category] {
        assert!((1..=TEXT_BYTES_MAX).contains(&text.len()));
    }
    assert!(payment.amount >= 0);
    let age_ms = NOW_MS - payment.created_at_ms;
    assert!((-AHEAD_MS_MAX..=AGE_MS_MAX).contains(&age_ms));

    let event = Payment::to_event(json, NOW_MS).expect("what parses makes an event");
    assert_eq!(event.id(), payment.tx_id.as_bytes());
    assert_eq!(event.key(), payment.card_number.as_bytes());
    assert_eq!(event.payload(), json);

    let mut written = Vec::new();
    payment.to_json(&mut written);
    let again = Payment::parse(&written, NOW_MS).expect("what was written is read");
    // Compared field by field in `==`; the text shown on a difference leaves the card number out.
    assert_eq!(again, payment);
});
