//! What PostgreSQL's `jsonb` cannot hold of well-formed JSON.

/// Most digits of a number before the point ("Numeric Types" in PostgreSQL's manual).
const WHOLE_DIGITS_MAX: i64 = 131_072;
/// Most digits of a number behind the point.
const FRACTION_DIGITS_MAX: i64 = 16_383;

/// Checks JSON that is well-formed.
///
/// # Errors
/// What it holds that `jsonb` does not.
pub(super) fn check(json: &str) -> Result<(), String> {
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' => string(rest)?,
            '-' | '0'..='9' => number(rest)?,
            other => other.len_utf8(),
        };
        rest = &rest[taken..];
    }
    Ok(())
}

/// Checks the string at the start of `json`. Returns its length in bytes.
fn string(json: &str) -> Result<usize, String> {
    let lone = || Err("holds half of a surrogate pair; send whole characters".to_owned());
    let unit = |at: usize| {
        let escape = json.get(at..at + 6).filter(|escape| escape.starts_with("\\u"))?;
        u16::from_str_radix(&escape[2..], 16).ok()
    };
    let (mut at, bytes) = (1, json.as_bytes());
    while let Some(byte) = bytes.get(at) {
        match (byte, unit(at)) {
            (b'"', _) => return Ok(at + 1),
            (_, Some(0)) => return Err("holds \\u0000; send text without NUL".to_owned()),
            (_, Some(0xd800..=0xdbff)) => match unit(at + 6) {
                Some(0xdc00..=0xdfff) => at += 12,
                _ => return lone(),
            },
            (_, Some(0xdc00..=0xdfff)) => return lone(),
            (b'\\', _) => at += 2,
            _ => at += 1,
        }
    }
    Ok(json.len())
}

/// Checks the number at the start of `json`. Returns its length in bytes.
fn number(json: &str) -> Result<usize, String> {
    let part_of = |c: char| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E');
    let length = json.find(|c| !part_of(c)).unwrap_or(json.len());
    let text = json[..length].trim_start_matches('-');
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = |text: &str| text.bytes().take_while(|byte| *byte == b'0').count();
    let is_zero = [whole, fraction].iter().all(|part| zeros(part) == part.len());
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    // An exponent too long to be read is too great or too small in any case.
    let beyond = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    let exponent = exponent.parse::<i64>().unwrap_or(beyond).clamp(i64::MIN / 2, i64::MAX / 2);
    let leading = match zeros(whole) {
        all if all == whole.len() => -count(zeros(fraction)),
        some => count(whole.len() - some),
    };
    let before = leading.saturating_add(exponent);
    let behind = count(fraction.len()).saturating_sub(exponent);
    if (before > WHOLE_DIGITS_MAX && !is_zero) || behind > FRACTION_DIGITS_MAX {
        return Err(format!(
            "holds a number of more than {WHOLE_DIGITS_MAX} digits before the point or \
             {FRACTION_DIGITS_MAX} behind it"
        ));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_does_not_hold_is_named() {
        for (json, expect) in [
            (r#"{"a": ["b\\u0000", "\\", 1.5e3, -0, true, null]}"#, None),
            (r#"{"a": "b\u0000"}"#, Some("holds \\u0000")),
            (r#"{"b\u0000": 1}"#, Some("holds \\u0000")),
            (r#""\ud83d\ude00 값 \"""#, None),
            (r#""\ud83d""#, Some("holds half")),
            (r#""\ud83d\u0041""#, Some("holds half")),
            (r#""\ude00""#, Some("holds half")),
            ("1e131071", None),
            ("[1e131072]", Some("holds a number")),
            ("0e999999", None),
            ("0.001e131074", None),
            ("0.001e131075", Some("holds a number")),
            ("1e-16383", None),
            ("1e-16384", Some("holds a number")),
            ("1e99999999999999999999", Some("holds a number")),
        ] {
            match (check(json), expect) {
                (Ok(()), None) => {}
                (Err(problem), Some(expect)) => assert!(problem.starts_with(expect), "{problem}"),
                (got, expect) => panic!("{json}: {got:?}, expected {expect:?}"),
            }
        }
    }
}
