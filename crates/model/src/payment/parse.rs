//! The happy path: one pass over the JSON, text borrowed. Whatever goes wrong in that pass is
//! explained by [`super::diagnose`], which may take its time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use serde::de::{self, Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::bounds::{
    Reject, TEXT_BYTES_MAX, TWICE, amount, card_number, created_at, currency, text, tier,
};
use super::diagnose;
use super::fields::Payment;
use crate::clock::EpochMs;
use crate::event::{ID_BYTES_MAX, PAYLOAD_BYTES_MAX};

pub(super) fn payment(json: &[u8], now_ms: EpochMs) -> Result<Payment<'_>, Reject> {
    if json.len() > PAYLOAD_BYTES_MAX {
        let problem = format!("is {} bytes; send at most {PAYLOAD_BYTES_MAX}", json.len());
        return Err(Reject::new("event", problem));
    }
    // Checked once for the whole, because the JSON reader would pass over the text of unknown
    // fields unread, and check each known one by itself.
    let text = std::str::from_utf8(json).map_err(|error| {
        let problem = format!("is not UTF-8 at byte {}; send UTF-8", error.valid_up_to());
        Reject::new("event", problem)
    })?;
    // A derived reader takes an array of the fields' values as well; only objects are payments.
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(diagnose::not_an_object(text));
    }
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|_| diagnose::reject(text, now_ms))?;
    raw.check(now_ms)
}

/// The fields of a payment as they were sent. A name that is given twice is refused, also one that
/// is no payment's: it may be the id or the key by which a buffer knows the event.
struct Raw<'a> {
    tx_id: Cow<'a, str>,
    card_number: Cow<'a, str>,
    user_id: Cow<'a, str>,
    tier: Cow<'a, str>,
    amount: i64,
    merchant: Cow<'a, str>,
    category: Cow<'a, str>,
    created_at: CreatedAt,
    currency: Option<Cow<'a, str>>,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    TxId,
    CardNumber,
    UserId,
    Tier,
    Amount,
    Merchant,
    Category,
    CreatedAt,
    Currency,
    Other(String),
}

/// Text, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
        let (mut tx_id, mut card_number, mut user_id, mut tier) = (None, None, None, None);
        let (mut amount, mut merchant, mut category, mut created_at) = (None, None, None, None);
        let (mut currency, mut others) = (None, HashSet::new());
        while let Some(field) = map.next_key()? {
            match field {
                Field::TxId => text_once(&mut map, &mut tx_id)?,
                Field::CardNumber => text_once(&mut map, &mut card_number)?,
                Field::UserId => text_once(&mut map, &mut user_id)?,
                Field::Tier => text_once(&mut map, &mut tier)?,
                Field::Amount => once(&mut amount, map.next_value()?)?,
                Field::Merchant => text_once(&mut map, &mut merchant)?,
                Field::Category => text_once(&mut map, &mut category)?,
                Field::CreatedAt => once(&mut created_at, map.next_value()?)?,
                Field::Currency => once(&mut currency, map.next_value::<Option<Text<'_>>>()?)?,
                Field::Other(name) => {
                    map.next_value::<IgnoredAny>()?;
                    if !others.insert(name) {
                        return Err(A::Error::custom(TWICE));
                    }
                }
            }
        }
        Ok(Raw {
            tx_id: given(tx_id)?,
            card_number: given(card_number)?,
            user_id: given(user_id)?,
            tier: given(tier)?,
            amount: given(amount)?,
            merchant: given(merchant)?,
            category: given(category)?,
            created_at: given(created_at)?,
            currency: currency.flatten().map(|Text(text)| text),
        })
    }
}

/// Reads text that may be given once. What is wrong is explained by [`super::diagnose`].
fn text_once<'de, A: MapAccess<'de>>(
    map: &mut A,
    slot: &mut Option<Cow<'de, str>>,
) -> Result<(), A::Error> {
    let Text(text) = map.next_value()?;
    once(slot, text)
}

fn once<T, E: de::Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(TWICE)),
    }
}

fn given<T, E: de::Error>(slot: Option<T>) -> Result<T, E> {
    slot.ok_or_else(|| E::custom("a field is missing"))
}

impl<'a> Raw<'a> {
    fn check(self, now_ms: EpochMs) -> Result<Payment<'a>, Reject> {
        text("tx_id", &self.tx_id, ID_BYTES_MAX)?;
        card_number(&self.card_number)?;
        text("user_id", &self.user_id, TEXT_BYTES_MAX)?;
        let tier = tier(&self.tier)?;
        amount(self.amount)?;
        text("merchant", &self.merchant, TEXT_BYTES_MAX)?;
        text("category", &self.category, TEXT_BYTES_MAX)?;
        created_at(self.created_at.0, now_ms)?;
        self.currency.as_deref().map_or(Ok(()), currency)?;
        Ok(Payment {
            tx_id: self.tx_id,
            card_number: self.card_number,
            user_id: self.user_id,
            tier,
            amount: self.amount,
            merchant: self.merchant,
            category: self.category,
            created_at_ms: self.created_at.0,
        })
    }
}

/// Event time, read from RFC 3339 text or integer epoch milliseconds.
struct CreatedAt(EpochMs);

impl<'de> Deserialize<'de> for CreatedAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CreatedAtVisitor)
    }
}

struct CreatedAtVisitor;

impl Visitor<'_> for CreatedAtVisitor {
    type Value = CreatedAt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RFC 3339 text or integer epoch milliseconds")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<CreatedAt, E> {
        Ok(CreatedAt(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<CreatedAt, E> {
        i64::try_from(value).map(CreatedAt).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<CreatedAt, E> {
        let at: Timestamp = value.parse().map_err(E::custom)?;
        Ok(CreatedAt(at.as_millisecond()))
    }
}
