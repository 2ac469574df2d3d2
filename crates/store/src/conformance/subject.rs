//! What a guarantee is held against, and the rows that it writes there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::payment::Tier;

use crate::card::Guard;
use crate::rulesets::Ruleset;
use crate::{Claimed, Completion, Duplicate, Load, Row, Settlement, Store};

/// An adapter under test, over a database of its own that starts empty.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store, open, in the process that settles.
    fn store(&self) -> Claimed;

    /// The store of another process, which does not settle.
    fn beside(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again over the same database.
    async fn reopen(&mut self);

    /// Every payment in the database, in order of settling, read with plain queries.
    async fn stored(&self) -> Vec<Stored>;

    /// Every completion in the database, in order of writing.
    async fn completed(&self) -> Vec<Completion>;

    /// Every load in the database, in order of writing.
    async fn loaded(&self) -> Vec<Load>;

    /// Every version of the fraud rules in the database, in order.
    async fn rulesets(&self) -> Vec<Ruleset>;

    /// Makes all that was heard of processes until now this much older.
    async fn later(&self, by: Duration);

    /// Runs a statement, past the adapter.
    async fn execute(&self, sql: &str);

    /// What one statement returns, past the adapter, each value as text.
    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>>;
}

/// A payment as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The columns that were handed in.
    pub row: Row,
    /// The column derived from the rules that fired.
    pub is_fraud: bool,
    /// The adapter's own stamp.
    pub processed_at_ms: Option<i64>,
}

/// Names read from a database, in the type that rows have. They are leaked: for tests only.
#[must_use]
pub fn leak(names: Vec<String>) -> Vec<&'static str> {
    names.into_iter().map(|name| &*name.leak()).collect()
}

/// A plain row: payment `tx_id` of card `card`, `amount` KRW at `created_at_ms`.
#[must_use]
pub fn row(tx_id: &str, card: &str, amount: i64, created_at_ms: i64) -> Row {
    let guard = Guard::new(&[7; 32], false);
    Row {
        tx_id: tx_id.into(),
        card_number: guard.stored(card),
        card_fingerprint: guard.fingerprint(card),
        user_id: "user-1".into(),
        tier: Tier::Normal,
        amount,
        merchant: "Cafe".into(),
        category: "coffee".into(),
        fraud_rules: Vec::new(),
        fraud_detail: None,
        ruleset_version: 1,
        created_at_ms,
        accepted_at_ms: created_at_ms + 1,
    }
}

/// The rows at these indexes are payments that the store, or the batch, already holds.
#[must_use]
pub fn duplicates(indexes: impl IntoIterator<Item = usize>) -> Settlement {
    let same = |index| Duplicate { index, differs: Vec::new() };
    Settlement::Duplicates(indexes.into_iter().map(same).collect())
}

/// The ids stored, in order of settling.
pub(crate) async fn ids(subject: &dyn Subject) -> Vec<String> {
    subject.stored().await.into_iter().map(|stored| stored.row.tx_id).collect()
}
