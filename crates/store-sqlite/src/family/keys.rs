//! Which key the card fingerprints are made with.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use store::Error;
use store::card::Fingerprint;

use crate::database::Database;
use crate::transaction::Applied;

const KEEP: &str =
    "INSERT INTO card_key (id, key_check) VALUES (1, ?1) ON CONFLICT (id) DO NOTHING";
const KEPT: &str = "SELECT key_check FROM card_key WHERE id = 1";
const SAME: &str = "SELECT key_check = ?1 FROM card_key WHERE id = 1";

/// The key, in the store's file.
pub(crate) struct Keys(pub(crate) Arc<Database>);

#[async_trait]
impl store::Keys for Keys {
    async fn same_key(&self, check: Fingerprint) -> Result<bool, Error> {
        self.0.write(0, move |db, _| same(db, check).map(Applied::Kept)).await
    }
}

/// Whether `check` is the key's that is kept. Keeps it where there is none.
fn same(db: &Connection, check: Fingerprint) -> rusqlite::Result<bool> {
    db.prepare_cached(KEEP)?.execute([&check.0])?;
    db.prepare_cached(SAME)?.query_row([&check.0], |row| row.get(0))
}

/// The check of the key that is kept, if any is.
pub(crate) fn kept(db: &Connection) -> rusqlite::Result<Option<Fingerprint>> {
    db.query_row(KEPT, [], |row| row.get(0).map(Fingerprint)).optional()
}
