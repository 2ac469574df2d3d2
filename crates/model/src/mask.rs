//! Payloads and keys, fit to be shown: card numbers masked, wherever they are.

use serde_json::Value;

use crate::terminal::escaped;

/// As many digits in a row may be a card number.
const CARD_DIGITS_MIN: usize = crate::payment::CARD_DIGITS_MIN;
/// Digits kept at the end.
const KEPT: usize = 4;
/// Fields whose long numbers are no card's.
const INNOCENT: [&str; 3] = ["tx_id", "amount", "created_at"];

/// `payload` as text, with everything that may be a card number masked.
#[must_use]
pub fn payload(payload: &[u8]) -> String {
    match serde_json::from_slice::<Value>(payload) {
        Ok(mut value @ Value::Object(_)) => {
            mask(&mut value);
            value.to_string()
        }
        _ => digits(&String::from_utf8_lossy(payload)),
    }
}

/// `bytes` as text, masked as [`payload`] does unless `reveal`.
#[must_use]
pub fn unless(bytes: &[u8], reveal: bool) -> String {
    if reveal { String::from_utf8_lossy(bytes).into_owned() } else { payload(bytes) }
}

/// An id as a log line shows it: digits masked, control characters [`escaped`]. It may hold a card number, because
/// producers choose it. At most [`crate::event::ID_BYTES_MAX`] bytes long.
#[must_use]
pub fn id(id: &[u8]) -> String {
    escaped(&digits(&String::from_utf8_lossy(id)))
}

/// Each run of twelve or more digits, with all but the last four as `*`. Blanks and hyphens between
/// digits do not end a run.
#[must_use]
pub fn digits(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let run = from.find(|c: char| !(c.is_ascii_digit() || c == ' ' || c == '-'));
        let (run, after) = from.split_at(run.unwrap_or(from.len()));
        out.push_str(before);
        let count = run.bytes().filter(u8::is_ascii_digit).count();
        let hidden = if count >= CARD_DIGITS_MIN { count - KEPT } else { 0 };
        let mut nth = 0;
        out.extend(run.chars().map(|c| {
            nth += usize::from(c.is_ascii_digit());
            if c.is_ascii_digit() && nth <= hidden { '*' } else { c }
        }));
        rest = after;
    }
    out + rest
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if !INNOCENT.contains(&name.as_str()) {
                    mask(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::String(text) => *text = digits(text),
        Value::Number(number) => {
            let text = number.to_string();
            let masked = digits(&text);
            if masked != text {
                *value = Value::String(masked);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_masked_in_whatever_field_it_is() {
        let json = br#"{"tx_id":"100000000000001","card_number":"4000123412341234",
            "merchant":"paid by 4000-1234-1234-1234!","x":[4000123412341234],
            "created_at":1700000000123,"amount":100000000000}"#;
        let shown = payload(json);
        assert!(!shown.contains("4000123412") && !shown.contains("4000-1234"), "{shown}");
        assert!(shown.contains(r#""card_number":"************1234""#), "{shown}");
        assert!(shown.contains("paid by ****-****-****-1234!"), "{shown}");
        assert!(shown.contains(r#""created_at":1700000000123"#), "{shown}");
        assert!(shown.contains("100000000000001"), "{shown}");
    }

    #[test]
    fn what_is_no_json_is_masked_as_text() {
        assert_eq!(payload(b"card 4000123412341234, {"), "card ************1234, {");
        assert_eq!(payload(b"12345678901 "), "12345678901 ");
        assert_eq!(payload(b"\xff4000123412341234"), "\u{fffd}************1234");
    }
}
