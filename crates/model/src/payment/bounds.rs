//! What each field of a payment may be, and the refusal of what it may not.

use super::fields::Tier;
use crate::class::{Class, Classify};
use crate::clock::EpochMs;

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

/// What the readers say of a name that is given twice.
pub(super) const TWICE: &str = "is given twice; give it once";

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
    pub(super) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl Classify for Reject {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

pub(super) fn text(field: &'static str, value: &str, bytes_max: usize) -> Result<(), Reject> {
    if value.is_empty() || value.len() > bytes_max {
        let problem = format!("is {} bytes; must be 1 to {bytes_max}", value.len());
        return Err(Reject::new(field, problem));
    }
    // Nearly all text is ASCII, where looking at bytes is several times as fast.
    let control = if value.is_ascii() {
        value.bytes().any(|byte| byte.is_ascii_control())
    } else {
        value.chars().any(char::is_control)
    };
    if control {
        return Err(Reject::new(field, "holds a control character; send printable text"));
    }
    Ok(())
}

pub(super) fn card_number(value: &str) -> Result<(), Reject> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !(CARD_DIGITS_MIN..=CARD_DIGITS_MAX).contains(&value.len()) {
        let problem =
            format!("must be {CARD_DIGITS_MIN} to {CARD_DIGITS_MAX} digits, nothing else");
        return Err(Reject::new("card_number", problem));
    }
    Ok(())
}

pub(super) fn tier(value: &str) -> Result<Tier, Reject> {
    Tier::named(value)
        .ok_or_else(|| Reject::new("tier", "is unknown; must be one of vip, premium, normal"))
}

pub(super) fn amount(value: i64) -> Result<(), Reject> {
    if value < 0 {
        return Err(Reject::new("amount", "is negative; must be 0 or more, in KRW"));
    }
    Ok(())
}

pub(super) fn currency(value: &str) -> Result<(), Reject> {
    if value != CURRENCY {
        let problem =
            format!("is not {CURRENCY}; send amounts in {CURRENCY}, or leave the field out");
        return Err(Reject::new("currency", problem));
    }
    Ok(())
}

pub(super) fn created_at(value_ms: EpochMs, now_ms: EpochMs) -> Result<(), Reject> {
    let problem = if value_ms < now_ms.saturating_sub(AGE_MS_MAX) {
        "lies more than 20 years back"
    } else if value_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
        "lies more than 24 hours ahead"
    } else {
        return Ok(());
    };
    let hint = match value_ms.unsigned_abs() {
        100_000_000..=99_999_999_999 => ": looks like seconds; milliseconds expected",
        100_000_000_000_000..=99_999_999_999_999_999 => {
            ": looks like microseconds; milliseconds expected"
        }
        100_000_000_000_000_000.. => ": looks like nanoseconds; milliseconds expected",
        _ => "; send the time of the payment",
    };
    Err(Reject::new("created_at", format!("{problem}{hint}")))
}
