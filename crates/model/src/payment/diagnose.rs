//! The slow path: reads the JSON again, loosely, to say which field is wrong and what would be
//! right. Nothing here is reached by a good payment.

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::bounds::{self, Reject, TEXT_BYTES_MAX};
use crate::clock::EpochMs;
use crate::event::{ID_BYTES_MAX, PAYLOAD_BYTES_MAX};

const FIELDS: [&str; 8] =
    ["tx_id", "card_number", "user_id", "tier", "amount", "merchant", "category", "created_at"];

/// Why `text`, which could not be read as a payment, is none.
pub(super) fn reject(text: &str, now_ms: EpochMs) -> Reject {
    match serde_json::from_str::<Loose>(text) {
        Ok(loose) => {
            loose.check(now_ms).err().or_else(|| repeated_other(text)).unwrap_or_else(|| {
                Reject::new("event", "can't be read; send one JSON object with plain values")
            })
        }
        Err(error) if error.is_data() => repeated(&error),
        Err(error) => not_json(text, &error),
    }
}

/// Why `text`, which does not begin as an object, is no payment.
pub(super) fn not_an_object(text: &str) -> Reject {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Reject::new("event", "is not a JSON object; send one object for each payment"),
        Err(error) => not_json(text, &error),
    }
}

/// Syntax errors of the reader name what it looked for and where, never what it found.
fn not_json(text: &str, error: &serde_json::Error) -> Reject {
    if text.trim().is_empty() {
        return Reject::new("event", "is empty; send one JSON object");
    }
    // A buffer cuts a longer one off there.
    if text.len() == PAYLOAD_BYTES_MAX && error.is_eof() {
        let problem =
            format!("ends after {PAYLOAD_BYTES_MAX} bytes, the most an event may have; send less");
        return Reject::new("event", problem);
    }
    Reject::new("event", format!("is not JSON ({error}); send one JSON object"))
}

/// The loose reader takes any value for any field, so that the only thing left for it to refuse is
/// a field that is there twice.
fn repeated(error: &serde_json::Error) -> Reject {
    let said = error.to_string();
    let named =
        FIELDS.iter().chain(&["currency"]).find(|field| said.contains(&format!("`{field}`")));
    Reject::new(named.copied().unwrap_or("event"), bounds::TWICE)
}

/// A name of no payment's field that is given twice. Tells where: the name is the producer's own, and
/// may be anything.
fn repeated_other(text: &str) -> Option<Reject> {
    let error = serde_json::from_str::<Names>(text).err()?;
    let (line, column) = (error.line(), error.column());
    let problem = format!("gives a field twice, at line {line}, column {column}; give it once");
    Some(Reject::new("event", problem))
}

/// An object whose names are all different.
struct Names;

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom(bounds::TWICE));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(self)
    }
}

#[derive(Deserialize)]
struct Loose {
    #[serde(default, deserialize_with = "present")]
    tx_id: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    card_number: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    user_id: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    tier: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    amount: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    merchant: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    category: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    created_at: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    currency: Option<Value>,
}

/// Keeps a `null` that is there apart from a field that is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Loose {
    fn check(&self, now_ms: EpochMs) -> Result<(), Reject> {
        bounds::text("tx_id", string("tx_id", self.tx_id.as_ref())?, ID_BYTES_MAX)?;
        bounds::card_number(string("card_number", self.card_number.as_ref())?)?;
        bounds::text("user_id", string("user_id", self.user_id.as_ref())?, TEXT_BYTES_MAX)?;
        bounds::tier(string("tier", self.tier.as_ref())?)?;
        amount(there("amount", self.amount.as_ref())?)?;
        bounds::text("merchant", string("merchant", self.merchant.as_ref())?, TEXT_BYTES_MAX)?;
        bounds::text("category", string("category", self.category.as_ref())?, TEXT_BYTES_MAX)?;
        created_at(there("created_at", self.created_at.as_ref())?, now_ms)?;
        match &self.currency {
            None | Some(Value::Null) => Ok(()),
            given => bounds::currency(string("currency", given.as_ref())?),
        }
    }
}

fn there<'v>(field: &'static str, value: Option<&'v Value>) -> Result<&'v Value, Reject> {
    value.ok_or_else(|| {
        Reject::new(field, format!("is missing; a payment has {}", FIELDS.join(", ")))
    })
}

fn string<'v>(field: &'static str, value: Option<&'v Value>) -> Result<&'v str, Reject> {
    let value = there(field, value)?;
    value.as_str().ok_or_else(|| {
        Reject::new(field, format!("is {}; must be a string in quotes", kind(value)))
    })
}

fn amount(value: &Value) -> Result<(), Reject> {
    let Value::Number(number) = value else {
        let problem = format!("is {}; must be a whole number without quotes, in KRW", kind(value));
        return Err(Reject::new("amount", problem));
    };
    if let Some(whole) = number.as_i64() {
        return bounds::amount(whole);
    }
    let float = number.as_f64().unwrap_or(f64::NAN);
    // 2^63, the first number past the bound, is exact as a float.
    if float >= 9_223_372_036_854_775_808.0 {
        return Err(Reject::new("amount", format!("is too large; must be at most {}", i64::MAX)));
    }
    if float < 0.0 {
        return Err(Reject::new("amount", "is negative; must be 0 or more, in KRW"));
    }
    let problem = "has a fraction or an exponent; must be a whole number of KRW in plain digits";
    Err(Reject::new("amount", problem))
}

fn created_at(value: &Value, now_ms: EpochMs) -> Result<(), Reject> {
    const RIGHT: &str = "RFC 3339 such as \"2026-05-01T09:30:00+09:00\", or epoch milliseconds";
    let problem = match value {
        Value::Number(number) => match number.as_i64() {
            Some(at_ms) => return bounds::created_at(at_ms, now_ms),
            None => format!("is not a whole number of milliseconds; send {RIGHT}"),
        },
        Value::String(text) => {
            if let Ok(at) = text.parse::<Timestamp>() {
                return bounds::created_at(at.as_millisecond(), now_ms);
            }
            if text.parse::<i64>().is_ok() {
                "is a number in quotes; send epoch milliseconds without quotes".to_owned()
            } else if text.parse::<DateTime>().is_ok() {
                "has no time zone; end it with Z or an offset such as +09:00".to_owned()
            } else {
                format!("can't be read as a time; send {RIGHT}")
            }
        }
        other => format!("is {}; send {RIGHT}", kind(other)),
    };
    Err(Reject::new("created_at", problem))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
