//! What is read of a store from outside, whichever it is: for audits, and for tools that look on while
//! another process settles.

use std::collections::BTreeMap;

use async_trait::async_trait;
use model::clock::EpochMs;

use crate::card::Fingerprint;
use crate::rulesets::Ruleset;
use crate::{Error, Load};

/// One settled payment, as far as an audit needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment<'a> {
    /// The producer's identity.
    pub tx_id: &'a str,
    /// In KRW.
    pub amount: i64,
    /// Who is paid.
    pub merchant: &'a str,
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

/// Takes payments, one after the other.
pub type Each<'e> = &'e mut (dyn for<'p> FnMut(Payment<'p>) + Send);

/// A store, open for reading alone. It claims nothing and changes nothing.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Counts everything, from one moment. Reads the whole table.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn counts(&self) -> Result<Counts, Error>;

    /// How many events were found to be settled already, as the pipelines recorded it.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn duplicates(&self) -> Result<u64, Error>;

    /// Hands every payment to `each`, in order of settling.
    ///
    /// # Errors
    /// If the store can't be read. Rows read until then have been handed over.
    async fn payments(&self, each: Each<'_>) -> Result<(), Error>;

    /// What processes had to do in `pipeline` since `since_ms`, in the order of time.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn loads(&self, pipeline: &str, since_ms: EpochMs) -> Result<Vec<Load>, Error>;

    /// Every version of the fraud rules, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn rulesets(&self) -> Result<Vec<Ruleset>, Error>;

    /// What the store keeps of the card fingerprint key it was begun with; `None` before a process settled.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn key_check(&self) -> Result<Option<Fingerprint>, Error>;

    /// What is wrong with the store as it is, one sentence each. May read the whole of it.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn problems(&self) -> Result<Vec<String>, Error>;

    /// The rights that are missing to settle into the store, one sentence each.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn rights(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// The rights that are missing to be paused and listed, one sentence each. A process settles without them.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn rights_to_be_listed(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}
