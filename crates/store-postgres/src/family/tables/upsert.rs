//! Upserts: rows are written and their versions read back in one transaction.
//!
//! ```text
//!  client                                                server
//!  BEGIN │ INSERT │ SET CONSTRAINTS │ SELECT        ──►
//!                                                   ◄──  keys that were written │ versions
//!  COMMIT, or ROLLBACK                              ──►
//! ```
//!
//! What RETURNING gives is not enough: a trigger AFTER the write changes the row behind it, and a
//! trigger BEFORE it may make a newer row look older. A row that met one of its key is locked until
//! the transaction ends, so what is read back is what the table will hold.

use std::collections::HashSet;

use store::tables::{Mode, Record, Stored, Type, Value, Written};
use store::{Error, Target};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::one::{MOVED, One, Statements, unreadable};
use super::types;
use crate::session::Session;
use crate::settings::BEGIN;

/// Runs deferred triggers before versions are read back.
const FORCE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// The statement that compares the versions of rows with those that were sent; empty of inserts.
pub(super) fn versions(target: &Target) -> String {
    let Mode::Upsert { version, .. } = target.mode else { return String::new() };
    let columns = || sent(target, version).into_iter().map(|at| &target.columns[at]);
    let numbered = columns().zip(1..);
    let arrays =
        numbered.clone().map(|(column, n)| format!("${n}::{}[]", types::sent(column.kind)));
    let aliases = numbered.clone().map(|(_, n)| format!("c{n}"));
    let keys = numbered.take(target.keys.len()).map(|(column, n)| {
        let (name, sent) = (column.name.quoted(), format!("r.c{n}"));
        let found = format!("t.{name} = {}", types::cast(&sent, column.kind));
        match column.kind {
            // A collation may take another text for this one; it is the key of another row.
            Type::Text => format!("{found} AND t.{name}::text COLLATE \"C\" = {sent}"),
            _ => found,
        }
    });
    let list = |items: Vec<String>, between: &str| items.join(between);
    let column = &target.columns[version];
    let ours = format!("r.c{}", target.keys.len() + 1);
    let theirs = format!("t.{}::{}", column.name.quoted(), types::sent(column.kind));
    let shown = match column.kind {
        Type::Timestamptz => format!(
            "CASE WHEN isfinite({theirs}) THEN \
             to_char({theirs} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
             ELSE ({theirs})::text END"
        ),
        _ => format!("({theirs})::text"),
    };
    format!(
        "SELECT r.n, {shown}, {theirs} = {ours}, {theirs} > {ours} \
         FROM unnest({}) WITH ORDINALITY AS r ({}, n) JOIN {} AS t ON {}",
        list(arrays.collect(), ", "),
        list(aliases.collect(), ", "),
        target.quoted(),
        list(keys.collect(), " AND "),
    )
}

/// Which columns that statement is given: the key's, and the version.
fn sent(target: &Target, version: usize) -> Vec<usize> {
    target.keys.iter().copied().chain([version]).collect()
}

/// One row as the table holds it.
struct Held {
    /// `None` when it has no version.
    version: Option<String>,
    /// It has the version that was sent.
    same: bool,
    /// Its version is greater.
    newer: bool,
}

impl Held {
    /// Its place in the batch, and itself.
    fn read(row: &Row) -> Result<(usize, Self), tokio_postgres::Error> {
        let flag = |at: usize| Ok(row.try_get::<_, Option<bool>>(at)?.unwrap_or(false));
        let place = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
        Ok((place, Self { version: row.try_get(1)?, same: flag(2)?, newer: flag(3)? }))
    }
}

impl One {
    /// Writes `rows`, or rejects one of them whose version the table did not keep.
    pub(super) async fn upsert(
        &self,
        session: &mut Session<'_>,
        rows: &[Record],
    ) -> Result<Vec<Written>, Error> {
        let judged = match self.try_upsert(session, rows).await {
            Ok((returned, held)) => self.judge(rows, &returned, &held),
            Err(error) => Err(error),
        };
        match &judged {
            Ok(_) => session.commit().await?,
            Err(Error::Refused(_) | Error::Rejected(_)) => session.rollback().await?,
            Err(_) => {}
        }
        judged
    }

    async fn try_upsert(
        &self,
        session: &Session<'_>,
        rows: &[Record],
    ) -> Result<(Vec<Row>, Vec<Row>), Error> {
        let Statements { target, insert, versions, .. } = &self.statements;
        let Mode::Upsert { version, .. } = target.mode else { return Ok((vec![], vec![])) };
        let all: Vec<usize> = (0..target.columns.len()).collect();
        let looked = sent(target, version);
        let rows: Vec<&Record> = rows.iter().collect();
        let (all, sent) =
            (types::arrays(target, &all, &rows), types::arrays(target, &looked, &rows));
        let client = session.client();
        session
            .bounded(async {
                let insert = client.prepare_cached(insert).await?;
                let all: Vec<&(dyn ToSql + Sync)> = all.iter().map(|array| &**array as _).collect();
                let kinds = looked.iter().map(|&at| types::sent_array(target.columns[at].kind));
                let sent: Vec<(&(dyn ToSql + Sync), _)> =
                    sent.iter().map(|array| &**array as _).zip(kinds).collect();
                // Requests go out in the order in which they are first polled, which is this one.
                let (begun, returned, forced, held) = tokio::join!(
                    client.batch_execute(BEGIN),
                    client.query(&insert, &all),
                    client.batch_execute(FORCE),
                    // Planned anew each time: a plan that was kept from when the table was small
                    // reads the whole table until ANALYZE runs.
                    client.query_typed(versions, &sent)
                );
                begun?;
                let returned = returned?;
                forced?;
                Ok((returned, held?))
            })
            .await
    }

    /// What became of each row, once the transaction is committed.
    fn judge(
        &self,
        rows: &[Record],
        returned: &[Row],
        held: &[Row],
    ) -> Result<Vec<Written>, Error> {
        let target = &self.statements.target;
        let kinds: Vec<_> = target.keys.iter().map(|&key| target.columns[key].kind).collect();
        let keys = returned.iter().map(|row| types::record(row, &kinds));
        let written: HashSet<Vec<Value>> =
            keys.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
        let sent: HashSet<Vec<Value>> = rows.iter().map(|row| target.key(row)).collect();
        if !written.is_subset(&sent) {
            return Err(Error::Rejected(MOVED.into()));
        }
        let mut found: Vec<Option<Held>> = rows.iter().map(|_| None).collect();
        for row in held {
            let (place, held) = Held::read(row).map_err(|error| unreadable(&error))?;
            if let Some(found) = found.get_mut(place) {
                *found = Some(held);
            }
        }
        let judged = rows.iter().zip(found).map(|(row, held)| {
            let is_written = written.contains(&target.key(row));
            match held {
                Some(Held { same: true, .. }) if is_written => Ok(Written::Written),
                Some(Held { same: true, .. }) => Ok(Written::Older),
                Some(Held { newer: true, .. }) if !is_written => Ok(Written::Older),
                Some(Held { version: Some(version), .. }) => {
                    Err(target.unkept(row, &Stored::Version(version)))
                }
                Some(Held { version: None, .. }) => Err(target.unkept(row, &Stored::Null)),
                None => Err(target.unkept(row, &Stored::Nothing)),
            }
        });
        judged.collect()
    }
}
