//! Values, out of JSON and out of plain text.

use jiff::Timestamp;
use store::tables::{MICROS_MAX, MICROS_MIN, Type, Value};

/// The longest number of a `numeric`, in digits and signs.
const NUMERIC_BYTES_MAX: usize = 1_000;

/// What is right, to end a sentence that begins with "must be".
pub(crate) fn right(kind: Type) -> &'static str {
    match kind {
        Type::Bigint => "a whole number of 64 bits",
        Type::Double => "a number",
        Type::Text => "text without NUL",
        Type::Bool => "true or false",
        Type::Timestamptz => {
            "a time with its offset (RFC 3339, as 2026-03-02T12:00:00+09:00) or whole milliseconds \
             since 1970"
        }
        Type::Numeric => "a decimal number, as text if its last zeros count (\"12.50\")",
        Type::Json => "JSON",
        Type::Uuid => "a UUID (0198c5b6-7d3a-7c1e-8f00-0123456789ab)",
    }
}

/// Reads a value out of its JSON, which is well-formed and not null. `None` when it is no value of
/// this kind.
pub(crate) fn of_json(kind: Type, json: &str) -> Option<Value> {
    match kind {
        Type::Json => Some(Value::Json(json.to_owned())),
        Type::Bool => json.parse().ok().map(Value::Bool),
        Type::Double => {
            let number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
            let double: f64 = number.then(|| json.parse().ok())??;
            double.is_finite().then_some(Value::Double(double))
        }
        Type::Bigint => json.parse().ok().map(Value::Bigint),
        Type::Text | Type::Uuid => of_text(kind, &string(json)?),
        Type::Timestamptz | Type::Numeric if json.starts_with('"') => of_text(kind, &string(json)?),
        Type::Timestamptz | Type::Numeric => of_text(kind, json),
    }
}

fn string(json: &str) -> Option<String> {
    json.starts_with('"').then(|| serde_json::from_str(json).ok())?
}

/// Reads a value out of plain text, as a key in a path has it.
pub(crate) fn of_text(kind: Type, text: &str) -> Option<Value> {
    match kind {
        Type::Bigint => text.parse().ok().map(Value::Bigint),
        Type::Bool => text.parse().ok().map(Value::Bool),
        Type::Text => (!text.contains('\0')).then(|| Value::Text(text.to_owned())),
        Type::Timestamptz => time(text).map(Value::Timestamptz),
        Type::Numeric => is_decimal(text).then(|| Value::Numeric(text.to_owned())),
        Type::Uuid => uuid(text).map(Value::Uuid),
        Type::Double | Type::Json => None,
    }
}

fn time(text: &str) -> Option<i64> {
    let micros = match text.parse::<i64>() {
        Ok(ms) => ms.checked_mul(1_000)?,
        Err(_) => text.parse::<Timestamp>().ok()?.as_microsecond(),
    };
    (MICROS_MIN..=MICROS_MAX).contains(&micros).then_some(micros)
}

/// `-12.50`: digits, perhaps a sign before and a point among them.
fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = match text.strip_prefix('-').unwrap_or(text).split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text.strip_prefix('-').unwrap_or(text), None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= NUMERIC_BYTES_MAX && digits(whole) && fraction.is_none_or(digits)
}

fn uuid(text: &str) -> Option<String> {
    let formed = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    formed.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Type, json: &str, expect: Option<Value>) {
        assert_eq!(of_json(kind, json), expect, "{} {json}", kind.name());
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn each_type_takes_its_own_and_nothing_near_it() {
        check(Type::Bigint, "-9223372036854775808", Some(Value::Bigint(i64::MIN)));
        for other in ["9223372036854775808", "1.0", "1e3", "\"1\"", "true"] {
            check(Type::Bigint, other, None);
        }
        check(Type::Double, "1e3", Some(Value::Double(1000.0)));
        for other in ["1e999", "\"1\"", "true", "[]"] {
            check(Type::Double, other, None);
        }
        check(Type::Text, "\"a\\n값\"", Some(Value::Text(text("a\n값"))));
        for other in ["1", "\"a\\u0000\"", "{}"] {
            check(Type::Text, other, None);
        }
        check(Type::Bool, "false", Some(Value::Bool(false)));
        for other in ["0", "\"true\""] {
            check(Type::Bool, other, None);
        }
        check(Type::Json, "[1, 2]", Some(Value::Json(text("[1, 2]"))));
        let uuid = "0198C5B6-7D3A-7C1E-8F00-0123456789AB";
        check(Type::Uuid, &format!("\"{uuid}\""), Some(Value::Uuid(uuid.to_lowercase())));
        check(Type::Uuid, "\"0198c5b67d3a7c1e8f000123456789ab\"", None);
    }

    #[test]
    fn an_exact_number_stays_as_it_was_written() {
        for number in ["0", "-12.50", "123456789012345678901234567890.000000000000000001"] {
            check(Type::Numeric, number, Some(Value::Numeric(text(number))));
            check(Type::Numeric, &format!("\"{number}\""), Some(Value::Numeric(text(number))));
        }
        for other in ["1e3", "\"\"", "\"1.\"", "\".5\"", "\"+1\"", "\"NaN\"", "\"1_000\"", "true"] {
            check(Type::Numeric, other, None);
        }
    }

    #[test]
    fn a_time_has_its_offset_or_is_milliseconds() {
        let noon = Some(Value::Timestamptz(1_772_420_400_000_000));
        check(Type::Timestamptz, "\"2026-03-02T12:00:00+09:00\"", noon.clone());
        check(Type::Timestamptz, "\"2026-03-02T03:00:00Z\"", noon.clone());
        check(Type::Timestamptz, "1772420400000", noon);
        check(
            Type::Timestamptz,
            "\"2026-03-02T03:00:00.000001Z\"",
            Some(Value::Timestamptz(1_772_420_400_000_001)),
        );
        for other in ["\"2026-03-02T12:00:00\"", "9223372036854775807", "1.5", "true", "\"\""] {
            check(Type::Timestamptz, other, None);
        }
    }
}
