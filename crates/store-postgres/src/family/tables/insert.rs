//! Inserts: a row is written, or is held against the one that is there, in one transaction.
//!
//! A trigger, a rule, row security or a column's type may skip a row or change its key. So the
//! transaction is committed only once each row is stored under its key, or there is another of it.

use std::collections::HashMap;

use store::Error;
use store::tables::{Record, Value, Written};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::held::{Held, held};
use super::one::{MOVED, One, Statements};
use super::types;
use crate::session::Session;
use crate::settings::BEGIN;

/// How often a row is tried alone that is neither written nor held: another session may delete the
/// row that was in its way. Each try but the last is rolled back.
const SKIPPED_TRIES_MAX: u32 = 3;

/// Why a row that is neither written nor held becomes a dead letter.
const SKIPPED: &str = "cannot keep the row: a trigger or row security of the table skipped it; \
    change the table, then replay the dead letter";

impl One {
    /// Writes `rows` and commits once each of them is accounted for.
    pub(super) async fn insert(
        &self,
        session: &mut Session<'_>,
        rows: &[Record],
    ) -> Result<Vec<Written>, Error> {
        // Of several rows the engine finds the one that is skipped.
        let tries_max = if rows.len() == 1 { SKIPPED_TRIES_MAX } else { 1 };
        let mut tries = 1;
        let written = loop {
            match self.try_insert(session, rows).await {
                Ok(Some(written)) => break written,
                Ok(None) => session.rollback().await?,
                Err(rejected @ (Error::Refused(_) | Error::Rejected(_))) => {
                    session.rollback().await?;
                    return Err(rejected);
                }
                Err(error) => return Err(error),
            }
            if tries == tries_max {
                return Err(Error::Rejected(SKIPPED.into()));
            }
            tries += 1;
        };
        session.commit().await?;
        Ok(written)
    }

    /// Begins a transaction and inserts. `None` when some row is neither written nor held.
    async fn try_insert(
        &self,
        session: &Session<'_>,
        rows: &[Record],
    ) -> Result<Option<Vec<Written>>, Error> {
        let target = &self.statements.target;
        // Where the first row of each key is.
        let mut firsts: HashMap<Vec<Value>, usize> = HashMap::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            firsts.entry(target.key(row)).or_insert(at);
        }
        let mut written: Vec<Option<Written>> = vec![None; rows.len()];
        for row in self.begin(session, rows, &firsts).await? {
            let kinds: Vec<_> = target.keys.iter().map(|&key| target.columns[key].kind).collect();
            let key = types::record(&row, &kinds).ok();
            let Some(&at) = key.and_then(|key| firsts.get(&key)) else {
                return Err(Error::Rejected(MOVED.into()));
            };
            written[at] = Some(Written::Written);
        }
        let left: Vec<usize> = (0..rows.len()).filter(|&at| written[at].is_none()).collect();
        if !left.is_empty() {
            let asked: Vec<&Record> = left.iter().map(|&at| &rows[at]).collect();
            for (at, held) in left.into_iter().zip(held(session, target, &asked).await?) {
                written[at] = match held {
                    Held::Same => Some(Written::Same),
                    Held::Another(column) => {
                        let name = &target.columns[column].name;
                        Some(Written::Another(format!("column \"{name}\" differs")))
                    }
                    Held::Nothing => None,
                };
            }
        }
        Ok(written.into_iter().collect())
    }

    /// Begins a transaction and inserts the first row of each key. Returns the stored keys.
    async fn begin(
        &self,
        session: &Session<'_>,
        rows: &[Record],
        firsts: &HashMap<Vec<Value>, usize>,
    ) -> Result<Vec<Row>, Error> {
        let Statements { target, insert, .. } = &self.statements;
        let mut sent: Vec<usize> = firsts.values().copied().collect();
        sent.sort_unstable();
        let sent: Vec<&Record> = sent.into_iter().map(|at| &rows[at]).collect();
        let all: Vec<usize> = (0..target.columns.len()).collect();
        let arrays = types::arrays(target, &all, &sent);
        let client = session.client();
        session
            .bounded(async {
                let statement = client.prepare_cached(insert).await?;
                let parameters: Vec<&(dyn ToSql + Sync)> =
                    arrays.iter().map(|array| &**array as _).collect();
                // Requests go out in the order in which they are first polled.
                let (begun, returned) = tokio::join!(
                    client.batch_execute(BEGIN),
                    client.query(&statement, &parameters)
                );
                begun?;
                returned
            })
            .await
    }
}
