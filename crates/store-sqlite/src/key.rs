//! Which key the card fingerprints are made with.

use rusqlite::Connection;
use store::card::Fingerprint;

const KEEP: &str =
    "INSERT INTO card_key (id, key_check) VALUES (1, ?1) ON CONFLICT (id) DO NOTHING";
const SAME: &str = "SELECT key_check = ?1 FROM card_key WHERE id = 1";

/// Whether `check` is the key's that is kept. Keeps it where there is none.
pub(crate) fn same(db: &Connection, check: Fingerprint) -> rusqlite::Result<bool> {
    db.prepare_cached(KEEP)?.execute([&check.0])?;
    db.prepare_cached(SAME)?.query_row([&check.0], |row| row.get(0))
}
