//! A card payment, and the one place where its JSON is read and written.
//!
//! Invariants
//! - Reading depends on the bytes and the time passed in, on nothing else: an event read again with
//!   the time it was accepted at is judged the same.
//! - A refusal names the field and says what would be right, and never repeats a value: a card
//!   number may sit in any field.
//! - Whatever [`Payment::parse`] returns is within every bound below.

mod bounds;
mod diagnose;
mod fields;
mod parse;
#[cfg(test)]
mod tests;
mod write;

pub use bounds::{
    AGE_MS_MAX, AHEAD_MS_MAX, CARD_DIGITS_MAX, CARD_DIGITS_MIN, CURRENCY, Reject, TEXT_BYTES_MAX,
};
pub use fields::{Payment, Tier};

use crate::clock::EpochMs;
use crate::event::{self, Event};

/// The JSON field that is a payment's identity, and so its event's id.
pub const ID_FIELD: &str = "tx_id";
/// The JSON field that a payment's order is kept by, and so its event's key.
pub const KEY_FIELD: &str = "card_number";

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
}
