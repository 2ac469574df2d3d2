//! One transaction for the callers that wait.

use std::sync::Arc;

use model::clock::EpochMs;
use model::payment::Tier;
use rusqlite::{Connection, OptionalExtension, params};
use store::card::Fingerprint;
use store::payments::{COMPARED, skipped};
use store::tables::{Record, Written};
use store::{Completion, Duplicate, Error, Load, Row};

use crate::error::{classify, classify_write};
use crate::tables::{self, Statements};
use crate::{key, load, rulesets};

const INSERT_PAYMENT: &str = "\
    INSERT INTO transactions (tx_id, card_number, card_fingerprint, user_id, tier, amount, merchant, \
    category, is_fraud, fraud_rules, fraud_detail, ruleset_version, created_at, accepted_at, processed_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
    ON CONFLICT (tx_id) DO NOTHING";

/// The columns in the order of [`store::payments::COMPARED`].
const COMPARE_PAYMENT: &str = "\
    SELECT card_fingerprint IS ?2, user_id IS ?3, tier IS ?4, amount IS ?5, merchant IS ?6, \
    category IS ?7, created_at IS ?8 FROM transactions WHERE tx_id = ?1";

const INSERT_COMPLETION: &str = "\
    INSERT INTO pipeline_completion_log \
    (pipeline_name, started_at, completed_at, settled, duplicates, dead) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// What one caller wants written.
#[derive(Debug)]
pub(crate) enum Effect {
    Payments(Vec<Row>),
    Completion(Completion),
    Load {
        load: Box<Load>,
        forget_before_ms: EpochMs,
    },
    /// Rows of a table of somebody else's.
    Rows {
        statements: Arc<Statements>,
        rows: Vec<Record>,
    },
    /// The card fingerprint key's check, to be kept where there is none.
    Key(Fingerprint),
    /// Fraud rules, to be recorded where they are not.
    Ruleset(String),
    /// A statement that makes such a table.
    Definition(String),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    Settled,
    /// Nothing was written: see [`store::Settlement::Duplicates`].
    Duplicates(Vec<Duplicate>),
    /// What became of each row.
    Rows(Vec<Written>),
    /// Whether the key is the one that is kept.
    SameKey(bool),
    /// The version of the fraud rules.
    Ruleset(i64),
}

impl Applied {
    fn is_kept(&self) -> bool {
        !matches!(self, Self::Duplicates(_))
    }
}

/// What one caller is told.
pub(crate) type Answer = Result<Applied, Error>;

/// Writes what each of `effects` wants, or nothing of it, and commits; one answer for each, which
/// holds only because the commit went through.
///
/// # Errors
/// When the transaction as a whole failed. Nothing was written, unless the failure was the
/// commit's: then nobody knows.
pub(crate) fn commit(
    db: &Connection,
    effects: &[Effect],
    now_ms: i64,
) -> rusqlite::Result<Vec<Answer>> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    // A lone caller needs no savepoint: what is not kept is rolled back with the transaction.
    let alone = effects.len() == 1;
    let answers = effects
        .iter()
        .map(|effect| if alone { apply(db, effect, now_ms) } else { apart(db, effect, now_ms) })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let kept = answers.iter().any(|answer| answer.as_ref().is_ok_and(Applied::is_kept));
    db.prepare_cached(if kept { "COMMIT" } else { "ROLLBACK" })?.execute([])?;
    Ok(answers)
}

/// Applies one effect such that, if it is not kept, it leaves the others' alone.
fn apart(db: &Connection, effect: &Effect, now_ms: i64) -> rusqlite::Result<Answer> {
    db.prepare_cached("SAVEPOINT caller")?.execute([])?;
    let answer = apply(db, effect, now_ms)?;
    if !answer.as_ref().is_ok_and(Applied::is_kept) {
        db.prepare_cached("ROLLBACK TO caller")?.execute([])?;
    }
    db.prepare_cached("RELEASE caller")?.execute([])?;
    Ok(answer)
}

/// The outer error is the transaction's, the inner one this caller's own.
fn apply(db: &Connection, effect: &Effect, now_ms: i64) -> rusqlite::Result<Answer> {
    let applied = match effect {
        Effect::Payments(rows) => insert_payments(db, rows, now_ms),
        Effect::Completion(completion) => insert_completion(db, completion),
        Effect::Load { load, forget_before_ms } => {
            let written = load::write(db, load, *forget_before_ms);
            return own(db, written.map(|()| Applied::Settled));
        }
        Effect::Rows { statements, rows } => return tables::write(db, statements, rows),
        Effect::Key(check) => key::same(db, *check).map(Applied::SameKey),
        Effect::Ruleset(rules) => rulesets::version(db, rules, now_ms).map(Applied::Ruleset),
        Effect::Definition(sql) => db.execute(sql, []).map(|_| Applied::Settled),
    };
    applied.map(Ok).or_else(|error| match classify_write(&error) {
        // After some errors SQLite has rolled the whole transaction back by itself.
        refused @ (Error::Refused(_) | Error::Rejected(_)) if !db.is_autocommit() => {
            Ok(Err(refused))
        }
        _ => Err(error),
    })
}

/// For what nothing depends on: whatever went wrong is this caller's own, if the transaction is still
/// there.
fn own(db: &Connection, applied: rusqlite::Result<Applied>) -> rusqlite::Result<Answer> {
    match applied {
        Err(error) if db.is_autocommit() => Err(error),
        applied => Ok(applied.map_err(|error| classify(&error))),
    }
}

fn insert_payments(db: &Connection, rows: &[Row], now_ms: i64) -> rusqlite::Result<Applied> {
    let mut insert = db.prepare_cached(INSERT_PAYMENT)?;
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
    Ok(if duplicates.is_empty() { Applied::Settled } else { Applied::Duplicates(duplicates) })
}

/// How a row that was not inserted differs from the one that is there. If none is there, it is no
/// duplicate.
fn duplicate(db: &Connection, index: usize, row: &Row) -> rusqlite::Result<Duplicate> {
    let mut compare = db.prepare_cached(COMPARE_PAYMENT)?;
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

fn insert_completion(db: &Connection, completion: &Completion) -> rusqlite::Result<Applied> {
    db.prepare_cached(INSERT_COMPLETION)?.execute(params![
        &*completion.pipeline,
        completion.started_at_ms,
        completion.completed_at_ms,
        signed(completion.settled)?,
        signed(completion.duplicates)?,
        signed(completion.dead)?,
    ])?;
    Ok(Applied::Settled)
}

pub(crate) fn signed(count: u64) -> rusqlite::Result<i64> {
    i64::try_from(count).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
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

#[cfg(test)]
mod tests {
    use model::{Class, Classify};
    use store::conformance::loads::load;
    use store::conformance::row;

    use super::*;

    fn database() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        crate::migrations::run(&mut db).unwrap();
        db
    }

    fn payments(rows: &[(&str, i64)]) -> Effect {
        Effect::Payments(rows.iter().map(|&(id, amount)| row(id, "4000", amount, 1)).collect())
    }

    fn ids(db: &Connection) -> Vec<String> {
        let mut ids = db.prepare("SELECT tx_id FROM transactions ORDER BY id").unwrap();
        let ids = ids.query_map([], |row| row.get(0)).unwrap();
        ids.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn one_callers_duplicates_or_bad_row_undo_nothing_of_the_others() {
        let db = database();
        let group = [
            payments(&[("a", 1), ("b", 1)]),
            payments(&[("c", 1), ("a", 1)]),
            payments(&[("d", 1), ("bad", -1)]),
            payments(&[("e", 1), ("c", 1)]),
        ];
        let answers = commit(&db, &group, 1).unwrap();
        assert_eq!(answers[0], Ok(Applied::Settled));
        let named = vec![Duplicate { index: 1, differs: Vec::new() }];
        assert_eq!(answers[1], Ok(Applied::Duplicates(named)));
        assert!(matches!(answers[2], Err(Error::Refused(_))), "{answers:?}");
        assert_eq!(answers[3], Ok(Applied::Settled));
        assert_eq!(ids(&db), ["a", "b", "e", "c"]);
    }

    #[test]
    fn a_load_that_can_not_be_recorded_undoes_nothing_of_the_others() {
        let db = database();
        db.execute_batch("DROP TABLE load_history").unwrap();
        let load = Effect::Load { load: Box::new(load("a:1", 0)), forget_before_ms: 0 };
        let group = [payments(&[("a", 1)]), load, payments(&[("b", 1)])];
        let answers = commit(&db, &group, 1).unwrap();
        assert_eq!(answers[0], Ok(Applied::Settled));
        assert!(answers[1].is_err(), "{answers:?}");
        assert_eq!(answers[2], Ok(Applied::Settled));
        assert_eq!(ids(&db), ["a", "b"]);
        let alone = commit(&db, &group[1..2], 1).unwrap();
        assert!(alone[0].is_err(), "{alone:?}");
        assert_eq!(ids(&db), ["a", "b"]);
    }

    #[test]
    fn a_database_that_is_full_fails_every_caller_and_keeps_nothing() {
        let db = database();
        let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        db.query_row(&format!("PRAGMA max_page_count = {}", pages + 4), [], |_| Ok(())).unwrap();
        let many: Vec<_> = (0..1_000).map(|n| row(&format!("tx-{n}"), "4000", 1, 1)).collect();
        let group = [payments(&[("a", 1)]), Effect::Payments(many), payments(&[("b", 1)])];
        let error = commit(&db, &group, 1).unwrap_err();
        assert_eq!(classify(&error).class(), Class::Retryable, "{error}");
        if !db.is_autocommit() {
            db.execute_batch("ROLLBACK").unwrap();
        }
        assert!(ids(&db).is_empty());
    }

    /// A foreign key checked only at COMMIT stands for every cause a commit can fail of.
    #[test]
    fn a_commit_that_fails_fails_every_caller() {
        let db = database();
        db.execute_batch(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TABLE children (id REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER orphan AFTER INSERT ON transactions WHEN new.tx_id = 'orphan'
             BEGIN INSERT INTO children VALUES (1); END;",
        )
        .unwrap();
        commit(&db, &[payments(&[("a", 1)]), payments(&[("orphan", 1)])], 1).unwrap_err();
        db.execute_batch("ROLLBACK").unwrap();
        assert!(ids(&db).is_empty());
    }
}
