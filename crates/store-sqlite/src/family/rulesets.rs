//! The thresholds of each version of the fraud rules.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;
use rusqlite::{Connection, OptionalExtension};
use store::Error;
use store::rulesets::Ruleset;

use crate::database::Database;
use crate::transaction::Applied;

const FIND: &str = "SELECT version FROM rulesets WHERE rules = ?1";
const ADD: &str = "\
    INSERT INTO rulesets (version, rules, first_used_at) \
    SELECT max(coalesce(max(version), 0), 0) + 1, ?1, ?2 FROM rulesets RETURNING version";
const ALL: &str = "SELECT version, rules, first_used_at FROM rulesets ORDER BY version";

/// Versions of the fraud rules, in the store's file.
pub(crate) struct Rulesets(pub(crate) Arc<Database>);

#[async_trait]
impl store::Rulesets for Rulesets {
    async fn ruleset_version(&self, rules: &str) -> Result<i64, Error> {
        store::rulesets::bounded(rules)?;
        let rules = rules.to_owned();
        self.0.write(0, move |db, now_ms| version(db, &rules, now_ms).map(Applied::Kept)).await
    }
}

/// The version of `rules`; the next one is recorded where there is none.
pub(crate) fn version(db: &Connection, rules: &str, now_ms: EpochMs) -> rusqlite::Result<i64> {
    let found = db.prepare_cached(FIND)?.query_row([rules], |row| row.get(0)).optional()?;
    match found {
        Some(version) => Ok(version),
        None => db.prepare_cached(ADD)?.query_row((rules, now_ms), |row| row.get(0)),
    }
}

/// All of them, in the order of their versions.
pub(crate) fn all(db: &Connection) -> rusqlite::Result<Vec<Ruleset>> {
    let one = |row: &rusqlite::Row<'_>| {
        let (version, rules, first_used_at_ms) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Ruleset { version, rules, first_used_at_ms })
    };
    db.prepare_cached(ALL)?.query_map([], one)?.collect()
}
