//! Reading a store from outside: for audits, and for tools that look at a database another process
//! is writing to.
//!
//! Connections here can't write, share nothing with [`Store`](crate::Store), and read in pages, so
//! that the writer's log is never pinned for long.

use std::path::Path;

use model::clock::EpochMs;
use rusqlite::{Connection, OptionalExtension, params};
use store::card::Fingerprint;
use store::inspect::{Counts, Payment};
use store::rulesets::Ruleset;
use store::{Error, Load};

use crate::column::count;
use crate::error::classify;
use crate::family::{keys, loads, rulesets};
use crate::{connection, migrations};

/// Rows read in one transaction.
const PAGE_ROWS: i64 = 10_000;
/// How long, in milliseconds, a lock is waited for.
const BUSY_TIMEOUT_MS: u32 = 5_000;

// By row id through the table itself: an audit must not trust the index it is checking.
const PAGE: &str = "\
    SELECT id, tx_id, amount, card_fingerprint, is_fraud, fraud_rules, created_at, accepted_at, processed_at, \
    merchant FROM transactions NOT INDEXED WHERE id > ?1 ORDER BY id LIMIT ?2";

/// A database, open for reading.
#[derive(Debug)]
pub struct View {
    db: Connection,
}

/// Whether there is a store at `path`, of whatever version. Another program's database is none.
///
/// # Errors
/// If the file can't be read as a database.
pub fn is_store(path: &Path) -> Result<bool, Error> {
    if !path.exists() {
        return Ok(false);
    }
    migrations::is_store(&connection::reader(path, BUSY_TIMEOUT_MS)?)
}

/// Opens the database at `path`.
///
/// # Errors
/// [`Error::Fatal`] when there is no store at `path`, or not of the schema this program knows.
pub fn open(path: &Path) -> Result<View, Error> {
    let unusable = |reason: &dyn std::fmt::Display| {
        let path = path.display();
        Error::Fatal(format!("can't read {path}: {reason}"))
    };
    std::fs::metadata(path).map_err(|error| unusable(&error))?;
    let db = connection::reader(path, BUSY_TIMEOUT_MS)?;
    migrations::check(&db).map_err(|error| match error {
        Error::Fatal(text) => unusable(&text),
        other => other,
    })?;
    Ok(View { db })
}

impl View {
    /// Hands every payment to `each`, in order of settling, those settled meanwhile included.
    ///
    /// # Errors
    /// If the store can't be read. Rows read until then have been handed over.
    pub fn payments(&self, mut each: impl FnMut(Payment<'_>)) -> Result<(), Error> {
        let mut after = i64::MIN;
        while let Some(last) = self.page(after, &mut each).map_err(|error| classify(&error))? {
            after = last;
        }
        Ok(())
    }

    /// Reads the rows after id `after`, at most [`PAGE_ROWS`]; the last one's id, if there was one.
    fn page(
        &self,
        after: i64,
        each: &mut impl FnMut(Payment<'_>),
    ) -> rusqlite::Result<Option<i64>> {
        let mut page = self.db.prepare_cached(PAGE)?;
        let mut rows = page.query(params![after, PAGE_ROWS])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            each(Payment {
                tx_id: row.get_ref(1)?.as_str()?,
                amount: row.get(2)?,
                card_fingerprint: Fingerprint(row.get(3)?),
                is_fraud: row.get(4)?,
                fraud_rules: row.get_ref(5)?.as_str()?,
                created_at_ms: row.get(6)?,
                accepted_at_ms: row.get(7)?,
                processed_at_ms: row.get(8)?,
                merchant: row.get_ref(9)?.as_str()?,
            });
        }
        Ok(last)
    }

    /// Counts everything, from one moment. Reads the whole table, and holds one transaction
    /// meanwhile.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn counts(&self) -> Result<Counts, Error> {
        self.count().map_err(|error| classify(&error))
    }

    fn count(&self) -> rusqlite::Result<Counts> {
        let tx = self.db.unchecked_transaction()?;
        let totals = "SELECT count(*), count(DISTINCT tx_id), coalesce(sum(is_fraud), 0) \
                      FROM transactions NOT INDEXED";
        let (total, distinct, flagged) =
            tx.query_row(totals, [], |row| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?)))?;
        let by_rule = "SELECT rule.value, count(*) FROM transactions, json_each(fraud_rules) AS rule \
                       WHERE is_fraud = 1 GROUP BY rule.value";
        let flagged_by_rule = tx
            .prepare(by_rule)?
            .query_map([], |row| Ok((row.get(0)?, count(row, 1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Counts { total, distinct, flagged, flagged_by_rule })
    }

    /// How many events were found to be settled already, as the pipelines recorded it.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn duplicates(&self) -> Result<u64, Error> {
        let sum = "SELECT coalesce(sum(duplicates), 0) FROM pipeline_completion_log";
        self.db.query_row(sum, [], |row| count(row, 0)).map_err(|error| classify(&error))
    }

    /// What processes had to do in `pipeline` since `since_ms`, in the order of time.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn loads(&self, pipeline: &str, since_ms: EpochMs) -> Result<Vec<Load>, Error> {
        loads::since(&self.db, pipeline, since_ms).map_err(|error| classify(&error))
    }

    /// Every version of the fraud rules, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn rulesets(&self) -> Result<Vec<Ruleset>, Error> {
        rulesets::all(&self.db).map_err(|error| classify(&error))
    }

    /// What the store keeps of the card fingerprint key it was begun with, if any.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn key_check(&self) -> Result<Option<Fingerprint>, Error> {
        keys::kept(&self.db).map_err(|error| classify(&error))
    }

    /// What SQLite's own check of the file says is wrong; `None` when nothing is.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn damage(&self) -> Result<Option<String>, Error> {
        let first = self
            .db
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))
            .optional()
            .map_err(|error| classify(&error))?;
        Ok(first.filter(|text| text != "ok"))
    }
}
