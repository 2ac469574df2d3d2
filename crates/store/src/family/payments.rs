//! The `transactions` table: what was paid, and what screening said.

use async_trait::async_trait;
use model::clock::EpochMs;
use model::payment::Tier;

use crate::Error;
use crate::card::Fingerprint;

/// One settled payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The producer's identity of the payment; unique.
    pub tx_id: String,
    /// As stored: masked unless configured otherwise.
    pub card_number: String,
    /// Keyed hash of the full card number; what a card's history is found by.
    pub card_fingerprint: Fingerprint,
    /// Who paid.
    pub user_id: String,
    /// The payer's tier.
    pub tier: Tier,
    /// In KRW, never negative.
    pub amount: i64,
    /// Where.
    pub merchant: String,
    /// What for.
    pub category: String,
    /// Names of the rules that fired, in rule order; empty when none did.
    pub fraud_rules: Vec<&'static str>,
    /// Each hit's explanation as a JSON array; `None` when no rule fired.
    pub fraud_detail: Option<String>,
    /// Which ruleset said so.
    pub ruleset_version: i64,
    /// When it was paid (event time).
    pub created_at_ms: EpochMs,
    /// When the buffer accepted it.
    pub accepted_at_ms: EpochMs,
}

impl Row {
    /// For each field of [`COMPARED`], whether both rows have the same value, as it was handed in.
    #[must_use]
    pub fn compared(&self, other: &Self) -> [bool; COMPARED.len()] {
        [
            self.card_fingerprint == other.card_fingerprint,
            self.user_id == other.user_id,
            self.tier == other.tier,
            self.amount == other.amount,
            self.merchant == other.merchant,
            self.category == other.category,
            self.created_at_ms == other.created_at_ms,
        ]
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// All rows are in, durably.
    Settled,
    /// Nothing was written: these rows (by ascending index, at least one) have a `tx_id` that the
    /// store, or an earlier row of the same batch, already holds.
    Duplicates(Vec<Duplicate>),
    /// Nothing was written: fences of these shards are no longer the latest. Another process settles
    /// payments of them, or has meanwhile. What was read of their cards may be out of date.
    Fenced(Vec<u32>),
}

/// A fence of a shard: while it is the latest, no other process has settled payments of the shard
/// since it was taken.
///
/// A shard is a part of a shared buffer that belongs to one process at a time (see `shard` of
/// `buffer::Envelope`). Only the store can tell for certain whether it still does: the buffer's server
/// may have gone back in time, and a process that stood still settles late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// Which shard, as the buffer numbers them.
    pub shard: u32,
    /// A fencing token. It grows each time another process takes a fence of the shard.
    pub token: i64,
}

/// A row whose `tx_id` is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Which row of the batch.
    pub index: usize,
    /// The fields, of [`COMPARED`] and in its order, in which the row differs from the one that has
    /// the `tx_id`. Empty for the same payment.
    pub differs: Vec<&'static str>,
}

impl Duplicate {
    /// Row `index`, and for each field of [`COMPARED`] whether both rows have the same value.
    #[must_use]
    pub fn compared(index: usize, same: [bool; COMPARED.len()]) -> Self {
        let fields = COMPARED.into_iter().zip(same);
        Self { index, differs: fields.filter(|&(_, same)| !same).map(|(name, _)| name).collect() }
    }
}

/// The fields, as a producer names them, that make two rows of one `tx_id` the same payment. A card
/// is compared by its fingerprint. When a row was accepted, and what screening said of it, are no
/// part of the payment.
pub const COMPARED: [&str; 7] =
    ["card_number", "user_id", "tier", "amount", "merchant", "category", "created_at"];

/// One of a card's latest payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// Its identity.
    pub tx_id: String,
    /// Event time.
    pub created_at_ms: EpochMs,
}

/// What the store knows of a card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// How many payments are settled.
    pub count: u64,
    /// The sum of their amounts, in KRW. Wider than one amount: many amounts near the bound fit.
    pub sum: i128,
    /// The latest by event time (`created_at_ms`, then order of settling), oldest first, as many as
    /// were asked for.
    pub recent: Vec<Recent>,
}

/// The reason for rejecting a payment that the database neither stored nor refused.
#[must_use]
pub fn skipped() -> &'static str {
    "the database skipped the payment and reported no error; look for a trigger on transactions that skips rows"
}

/// Payments, and what a card did before.
#[async_trait]
pub trait Payments: Send + Sync + 'static {
    /// Writes all of `rows` in one transaction, durably, or none of them. `processed_at` is stamped
    /// by the adapter.
    ///
    /// Rows of one `tx_id` are compared as the database stores them, each with the row that has the
    /// `tx_id`: the stored one, or else the first of the batch.
    ///
    /// # Errors
    /// [`Error::Rejected`] when some row can't be stored for certain, [`Error::Refused`] when that is
    /// so or the table takes no row at the moment. Nothing was written in both cases, except where the
    /// database skipped a row without an error: the others may then be settled, and the next attempt
    /// names them as duplicates.
    /// [`Error::Unavailable`] when it is worth trying again: the commit may have gone through
    /// unheard, and then the next attempt returns [`Settlement::Duplicates`].
    async fn settle(&self, rows: Vec<Row>) -> Result<Settlement, Error> {
        self.settle_fenced(rows, &[]).await
    }

    /// [`Payments::settle`], but only if each of `fences` is the latest of its shard until the rows are
    /// committed; otherwise [`Settlement::Fenced`].
    ///
    /// # Errors
    /// As [`Payments::settle`].
    async fn settle_fenced(&self, rows: Vec<Row>, fences: &[Fence]) -> Result<Settlement, Error>;

    /// Takes a fence of each of `shards` for this process: one answer for each, in any order. The
    /// process keeps the fence that it has, where that is still the latest. Otherwise batches of other
    /// processes that rely on the former fence commit before this returns, or never.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store can't be reached, or a batch of another process is not
    /// ended within the time that a statement may take.
    async fn fence(&self, shards: &[u32]) -> Result<Vec<Fence>, Error>;

    /// The histories of `cards`, in the same order, each with at most `recent_max` latest payments.
    /// A card the store has never seen has an empty history.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn histories(
        &self,
        cards: &[Fingerprint],
        recent_max: usize,
    ) -> Result<Vec<History>, Error>;

    /// Whether no payment was ever settled: every card is then new, and no history need be read.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn is_empty(&self) -> Result<bool, Error>;
}
