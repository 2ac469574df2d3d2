//! A card payment, and the one place where its JSON is read and written.
//!
//! Invariants
//! - Reading depends on the bytes and the time passed in, on nothing else: an event read again with
//!   the time it was accepted at is judged the same.
//! - A refusal names the field and says what would be right, and never repeats a value: a card
//!   number may sit in any field.
//! - Whatever [`Payment::parse`] returns is within every bound below.

mod diagnose;
mod parse;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;
use std::fmt;

use crate::class::{Class, Classify};
use crate::clock::EpochMs;
use crate::event::{self, Event};

/// The JSON field that is a payment's identity, and so its event's id.
pub const ID_FIELD: &str = "tx_id";
/// The JSON field that a payment's order is kept by, and so its event's key.
pub const KEY_FIELD: &str = "card_number";
/// How far back `created_at` may lie.
pub const AGE_MS_MAX: i64 = 20 * 365 * 24 * 3_600_000;
/// How far ahead of the reader's clock `created_at` may lie.
pub const AHEAD_MS_MAX: i64 = 24 * 3_600_000;
/// The currency of every amount (ISO 4217). A payment may name it, and may name no other.
pub const CURRENCY: &str = "KRW";
/// The shortest card number, in digits.
pub const CARD_DIGITS_MIN: usize = 12;
/// The longest card number, in digits.
pub const CARD_DIGITS_MAX: usize = 19;
/// The longest `user_id`, `merchant` and `category`, in bytes.
pub const TEXT_BYTES_MAX: usize = 100;

/// The payer's tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// 2% of users.
    Vip,
    /// 13%.
    Premium,
    /// 85%.
    Normal,
}

impl Tier {
    /// The tier written as `name`, if it is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "vip" => Some(Self::Vip),
            "premium" => Some(Self::Premium),
            "normal" => Some(Self::Normal),
            _ => None,
        }
    }

    /// As it is written in JSON and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vip => "vip",
            Self::Premium => "premium",
            Self::Normal => "normal",
        }
    }
}

/// One card payment. Text is borrowed from the JSON it was read from where that holds no escapes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment<'a> {
    /// The producer's identity of the payment: 1 to 64 bytes.
    pub tx_id: Cow<'a, str>,
    /// The full card number: 12 to 19 digits.
    pub card_number: Cow<'a, str>,
    /// Who pays: 1 to 100 bytes.
    pub user_id: Cow<'a, str>,
    /// The payer's tier.
    pub tier: Tier,
    /// KRW, 0 to `i64::MAX`.
    pub amount: i64,
    /// Where: 1 to 100 bytes.
    pub merchant: Cow<'a, str>,
    /// What for: 1 to 100 bytes.
    pub category: Cow<'a, str>,
    /// Event time.
    pub created_at_ms: EpochMs,
}

/// Why bytes are not a payment: names the field and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{field}: {problem}")]
pub struct Reject {
    /// The field at fault, or `event` when it is the whole.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Reject {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl Classify for Reject {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl<'a> Payment<'a> {
    /// Reads one payment. `now_ms` is what `created_at` is held against ([`AGE_MS_MAX`], [`AHEAD_MS_MAX`]).
    ///
    /// Unknown fields are passed over. `created_at` is RFC 3339 with an offset, or integer epoch
    /// milliseconds. A byte order mark in front is passed over.
    ///
    /// # Errors
    /// A [`Reject`] naming the field.
    pub fn parse(json: &'a [u8], now_ms: EpochMs) -> Result<Self, Reject> {
        parse::payment(event::without_mark(json), now_ms)
    }

    /// The event that carries `json` through a buffer: its id is the payment's `tx_id`, its key the
    /// card number, its payload `json` as it came, but for a byte order mark.
    ///
    /// # Errors
    /// A [`Reject`] naming the field, as for [`Payment::parse`].
    pub fn to_event(json: &[u8], now_ms: EpochMs) -> Result<Event, Reject> {
        let json = event::without_mark(json);
        let payment = Payment::parse(json, now_ms)?;
        payment.event(json).map_err(|error| Reject::new("event", error.to_string()))
    }

    /// The event that carries this payment as `json`, for callers that have both already.
    ///
    /// # Errors
    /// If `tx_id`, `card_number` or `json` is past an event's bounds, which no parsed payment is.
    pub fn event(&self, json: &[u8]) -> Result<Event, event::Error> {
        Event::new(self.tx_id.as_bytes(), self.card_number.as_bytes(), json)
    }

    /// Appends the payment as one JSON object without line breaks; `created_at` as epoch
    /// milliseconds. [`Payment::parse`] reads back an equal payment.
    pub fn to_json(&self, out: &mut Vec<u8>) {
        write::payment(self, out);
    }

    /// The same payment, holding its own text.
    #[must_use]
    pub fn into_owned(self) -> Payment<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Payment {
            tx_id: own(self.tx_id),
            card_number: own(self.card_number),
            user_id: own(self.user_id),
            tier: self.tier,
            amount: self.amount,
            merchant: own(self.merchant),
            category: own(self.category),
            created_at_ms: self.created_at_ms,
        }
    }
}

impl fmt::Debug for Payment<'_> {
    /// The card number is left out: debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payment")
            .field("tx_id", &self.tx_id)
            .field("user_id", &self.user_id)
            .field("tier", &self.tier)
            .field("amount", &self.amount)
            .field("merchant", &self.merchant)
            .field("category", &self.category)
            .field("created_at_ms", &self.created_at_ms)
            .finish_non_exhaustive()
    }
}
