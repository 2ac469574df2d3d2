//! What is read of a store from outside, whichever it is: for audits, and for tools that look on while
//! another process settles.

use std::collections::BTreeMap;

use crate::card::Fingerprint;

/// One settled payment, as far as an audit needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment<'a> {
    /// The producer's identity.
    pub tx_id: &'a str,
    /// In KRW.
    pub amount: i64,
    /// Keyed hash of the card number.
    pub card_fingerprint: Fingerprint,
    /// Whether any rule fired.
    pub is_fraud: bool,
    /// Names of the rules that fired, as a JSON array; `[]` when none did.
    pub fraud_rules: &'a str,
    /// Event time.
    pub created_at_ms: i64,
    /// When the buffer accepted it.
    pub accepted_at_ms: i64,
    /// When it was settled.
    pub processed_at_ms: Option<i64>,
}

/// How many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Payments.
    pub total: u64,
    /// Different `tx_id`s among them, counted without the index that keeps them unique.
    pub distinct: u64,
    /// Payments that some rule fired for.
    pub flagged: u64,
    /// For each rule that fired at least once, how many payments it fired for.
    pub flagged_by_rule: BTreeMap<String, u64>,
}
