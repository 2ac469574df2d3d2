//! Keys as text: in the path of a request, in an event, and in what is known of rows.
//!
//! The values of the key's columns in their order, parted by commas, each percent-encoded
//! (RFC 3986, 2.1). One key has one text, whatever it was written as.

use store::Target;
use store::tables::{Type, Value, show_time};

use crate::{Reject, value};

/// The longest text in a key, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 255;

/// Reads a key out of a path.
pub(crate) fn parse(target: &Target, path: &str) -> Result<Vec<Value>, Reject> {
    let parts: Vec<&str> = path.split(',').collect();
    if parts.len() != target.keys.len() {
        let names = target.keys.iter().map(|&key| target.columns[key].name.as_str());
        let names = names.collect::<Vec<_>>().join(",");
        return Err(Reject::key(format!(
            "has {} parts; write {names} with commas in between, and %2C for a comma in a value",
            parts.len()
        )));
    }
    let columns = target.keys.iter().map(|&key| &target.columns[key]);
    parts
        .iter()
        .zip(columns)
        .map(|(part, column)| {
            let text = decoded(part).ok_or_else(|| {
                Reject::key("is no UTF-8 in percent-encoding; write %25 for a percent sign")
            })?;
            let value = value::of_text(column.kind, &text)
                .ok_or_else(|| Reject::new(column.name.as_str(), must_be(column.kind)))?;
            check(&value).map_err(|problem| Reject::new(column.name.as_str(), problem))?;
            Ok(value)
        })
        .collect()
}

fn must_be(kind: Type) -> String {
    format!("must be {}", value::right(kind))
}

/// What is wrong with a value as part of a key, if anything is.
pub(crate) fn check(value: &Value) -> Result<(), String> {
    match value {
        Value::Text(text) if text.is_empty() || text.len() > TEXT_BYTES_MAX => {
            Err(format!("is {} bytes; in a key it must be 1 to {TEXT_BYTES_MAX}", text.len()))
        }
        _ => Ok(()),
    }
}

/// The text of a key.
pub(crate) fn show(key: &[Value]) -> String {
    let mut out = String::new();
    for (nth, value) in key.iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        match value {
            Value::Bigint(number) => out.push_str(&number.to_string()),
            Value::Bool(on) => out.push_str(if *on { "true" } else { "false" }),
            Value::Timestamptz(micros) => out.push_str(&show_time(*micros)),
            Value::Text(text) | Value::Uuid(text) => encode(text, &mut out),
            // No key has any of these.
            Value::Null | Value::Double(_) | Value::Numeric(_) | Value::Json(_) => {}
        }
    }
    out
}

fn encode(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            other => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(other >> 4)]));
                out.push(char::from(DIGITS[usize::from(other & 15)]));
            }
        }
    }
}

fn decoded(part: &str) -> Option<String> {
    if !part.contains('%') {
        return Some(part.to_owned());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (pair, after) = rest.split_at_checked(2)?;
        let digit =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::tests::prices;

    fn check(path: &str, expect: Result<&[Value], &str>) {
        match (parse(&prices().target, path), expect) {
            (Ok(key), Ok(expect)) => assert_eq!(key, expect),
            (Err(reject), Err(expect)) => {
                assert!(reject.to_string().starts_with(expect), "{reject}");
            }
            (got, expect) => panic!("{path}: {got:?}, expected {expect:?}"),
        }
    }

    fn key(shop: i64, sku: &str) -> Vec<Value> {
        vec![Value::Bigint(shop), Value::Text(sku.into())]
    }

    #[test]
    fn parts_are_in_the_order_of_the_key_and_percent_decoded() {
        check("7,a", Ok(&key(7, "a")));
        check("-7,a%2Cb%25%2F%EA%B0%92", Ok(&key(-7, "a,b%/값")));
        check("7,a%2cb", Ok(&key(7, "a,b")));
    }

    #[test]
    fn what_is_no_key_is_named() {
        check("7", Err("key: has 1 parts; write shop,sku"));
        check("7,a,b", Err("key: has 3 parts"));
        check("x,a", Err("shop: must be a whole number"));
        check("7,", Err("sku: is 0 bytes"));
        check("7,%", Err("key: is no UTF-8"));
        check("7,%GG", Err("key: is no UTF-8"));
        check("7,%FF", Err("key: is no UTF-8"));
        check("7,a%00", Err("sku: must be text"));
    }

    proptest! {
        #[test]
        fn a_key_has_one_text_which_is_read_back(shop: i64, sku in "[^\0]{1,60}") {
            let key = key(shop, &sku);
            prop_assert_eq!(parse(&prices().target, &show(&key)).unwrap(), key);
        }
    }
}
