//! What cards did before.

use rusqlite::{CachedStatement, Connection};
use store::card::Fingerprint;
use store::{History, Recent};

use crate::column::count;

/// Answered from `idx_transactions_card_history` alone. The sum comes in two halves of 32 bits,
/// because SQLite's own would fail past 64.
const TOTALS: &str = "\
    SELECT count(*), coalesce(sum(amount >> 32), 0), coalesce(sum(amount & 4294967295), 0) \
    FROM transactions WHERE card_fingerprint = ?1";

/// Read backwards along the same index; only payments of the same millisecond are sorted.
const RECENT: &str = "\
    SELECT tx_id, created_at FROM transactions WHERE card_fingerprint = ?1 \
    ORDER BY created_at DESC, id DESC LIMIT ?2";

/// The histories of `cards`, in their order, all from the same moment.
pub(super) fn read(
    db: &mut Connection,
    cards: &[Fingerprint],
    recent_max: usize,
) -> rusqlite::Result<Vec<History>> {
    let tx = db.transaction()?;
    let mut totals = tx.prepare_cached(TOTALS)?;
    let mut recent = tx.prepare_cached(RECENT)?;
    cards.iter().map(|card| one(&mut totals, &mut recent, *card, recent_max)).collect()
}

/// Whether there is no payment.
pub(super) fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT NOT EXISTS (SELECT 1 FROM transactions)", [], |row| row.get(0))
}

fn one(
    totals: &mut CachedStatement<'_>,
    recent: &mut CachedStatement<'_>,
    card: Fingerprint,
    recent_max: usize,
) -> rusqlite::Result<History> {
    let (count, sum) = totals.query_row([card.0], |row| {
        let (high, low): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok((count(row, 0)?, (i128::from(high) << 32) + i128::from(low)))
    })?;
    if count == 0 || recent_max == 0 {
        return Ok(History { count, sum, recent: Vec::new() });
    }
    let limit = i64::try_from(recent_max).unwrap_or(i64::MAX);
    let latest = recent.query_map((card.0, limit), |row| {
        Ok(Recent { tx_id: row.get(0)?, created_at_ms: row.get(1)? })
    })?;
    let mut recent = latest.collect::<rusqlite::Result<Vec<_>>>()?;
    recent.reverse();
    Ok(History { count, sum, recent })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite plans to do for `sql`.
    fn plan(sql: &str) -> String {
        let mut db = Connection::open_in_memory().unwrap();
        crate::migrations::run(&mut db).unwrap();
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = explain.parameter_count();
        let steps = explain.query_map(rusqlite::params_from_iter(vec![1; parameters]), |row| {
            row.get::<_, String>(3)
        });
        steps.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn totals_are_read_from_the_index_alone() {
        let plan = plan(TOTALS);
        assert!(plan.contains("USING COVERING INDEX idx_transactions_card_history"), "{plan}");
    }

    #[test]
    fn the_latest_payments_are_read_along_the_index() {
        let plan = plan(RECENT);
        assert!(plan.contains("USING INDEX idx_transactions_card_history"), "{plan}");
        assert!(plan.contains("LAST TERM OF ORDER BY"), "{plan}");
    }
}
