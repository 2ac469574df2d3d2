//! The `transactions` table: what was paid, and what screening said.

mod history;

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;
use model::payment::Tier;
use rusqlite::{Connection, OptionalExtension, params};
use store::card::Fingerprint;
use store::payments::{COMPARED, skipped};
use store::{Duplicate, Error, Fence, History, Row, Settlement};

use crate::database::Database;
use crate::transaction::Applied;

const INSERT: &str = "\
    INSERT INTO transactions (tx_id, card_number, card_fingerprint, user_id, tier, amount, merchant, \
    category, is_fraud, fraud_rules, fraud_detail, ruleset_version, created_at, accepted_at, processed_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
    ON CONFLICT (tx_id) DO NOTHING";

/// The columns in the order of [`store::payments::COMPARED`].
const COMPARE: &str = "\
    SELECT card_fingerprint IS ?2, user_id IS ?3, tier IS ?4, amount IS ?5, merchant IS ?6, \
    category IS ?7, created_at IS ?8 FROM transactions WHERE tx_id = ?1";

/// Payments, in the file that this process settles into.
pub(crate) struct Payments(pub(crate) Arc<Database>);

#[async_trait]
impl store::Payments for Payments {
    /// No other process settles into the file, so each fence is the latest.
    async fn settle_fenced(&self, rows: Vec<Row>, _: &[Fence]) -> Result<Settlement, Error> {
        if rows.is_empty() {
            return Ok(Settlement::Settled);
        }
        self.0.write(rows.len(), move |db, now_ms| insert(db, &rows, now_ms)).await
    }

    async fn fence(&self, shards: &[u32]) -> Result<Vec<Fence>, Error> {
        Ok(shards.iter().map(|&shard| Fence { shard, token: 1 }).collect())
    }

    async fn histories(
        &self,
        cards: &[Fingerprint],
        recent_max: usize,
    ) -> Result<Vec<History>, Error> {
        if cards.is_empty() {
            return Ok(Vec::new());
        }
        let cards = cards.to_vec();
        self.0.read(move |db| history::read(db, &cards, recent_max)).await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        self.0.read(|db| history::is_empty(db)).await
    }
}

/// Inserts all of `rows`, or names those whose `tx_id` is taken.
pub(crate) fn insert(
    db: &Connection,
    rows: &[Row],
    now_ms: EpochMs,
) -> rusqlite::Result<Applied<Settlement>> {
    let mut insert = db.prepare_cached(INSERT)?;
    let mut duplicates = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let rules = rules_json(&row.fraud_rules);
        let changed = insert.execute(params![
            row.tx_id,
            row.card_number,
            row.card_fingerprint.0,
            row.user_id,
            tier(row.tier),
            row.amount,
            row.merchant,
            row.category,
            !row.fraud_rules.is_empty(),
            rules.as_deref().unwrap_or("[]"),
            row.fraud_detail,
            row.ruleset_version,
            row.created_at_ms,
            row.accepted_at_ms,
            now_ms,
        ])?;
        if changed == 0 {
            duplicates.push(duplicate(db, index, row)?);
        }
    }
    Ok(if duplicates.is_empty() {
        Applied::Kept(Settlement::Settled)
    } else {
        Applied::Undone(Ok(Settlement::Duplicates(duplicates)))
    })
}

/// How a row that was not inserted differs from the one that is there. If none is there, it is no
/// duplicate.
fn duplicate(db: &Connection, index: usize, row: &Row) -> rusqlite::Result<Duplicate> {
    let mut compare = db.prepare_cached(COMPARE)?;
    let sent = params![
        row.tx_id,
        row.card_fingerprint.0,
        row.user_id,
        tier(row.tier),
        row.amount,
        row.merchant,
        row.category,
        row.created_at_ms,
    ];
    let compared = |there: &rusqlite::Row<'_>| {
        let mut same = [false; COMPARED.len()];
        for (column, same) in same.iter_mut().enumerate() {
            *same = there.get(column)?;
        }
        Ok(Duplicate::compared(index, same))
    };
    let compared = compare.query_row(sent, compared).optional()?;
    compared.ok_or_else(|| rusqlite::Error::ToSqlConversionFailure(skipped().into()))
}

/// `None` for the many rows that no rule fired for: they need no allocation.
fn rules_json(rules: &[&str]) -> Option<String> {
    (!rules.is_empty())
        .then(|| serde_json::to_string(rules).expect("a list of strings is always JSON"))
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Vip => "vip",
        Tier::Premium => "premium",
        Tier::Normal => "normal",
    }
}
