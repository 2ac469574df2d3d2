//! Tables of others, in the store's own file.
//!
//! Types: `bigint` and `bool` are INTEGER (a bool 0 or 1), `double` is REAL, all others TEXT: a
//! `timestamptz` as `2026-03-02T03:00:00.000000Z`, whose order as text is that in time, a `numeric`
//! as its digits, which no column of number affinity would keep.

mod held;
mod look;
mod statements;
mod upsert;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params_from_iter};
use store::tables::{Bound as Bounds, Mode, Record, Table, Type, Value, Written};
use store::{Error, Target};

use crate::column::count;
use crate::database::Database;
use crate::error::classify;
use crate::transaction::Applied;
use statements::{Bound, Statements, own};

/// Why a row that is neither written nor held becomes a dead letter.
const SKIPPED: &str = "cannot keep the row: a trigger of the table skipped it; change the table, \
    then replay the dead letter";

/// Tables of others, in the store's file.
pub(crate) struct Tables(pub(crate) Arc<Database>);

impl store::Tables for Tables {
    fn table(&self, target: &Target) -> Result<Arc<dyn Table>, Error> {
        Ok(Arc::new(One::new(target, &self.0)?))
    }
}

/// One table.
struct One {
    statements: Arc<Statements>,
    database: Arc<Database>,
}

impl One {
    fn new(target: &Target, database: &Arc<Database>) -> Result<Self, Error> {
        target.check().map_err(Error::Fatal)?;
        if target.schema.as_ref().is_some_and(|schema| schema.as_str() != "main") {
            let problem = format!("{target}: SQLite has no schemas; name the table alone");
            return Err(Error::Fatal(problem));
        }
        look::refuse_ours(target)?;
        let (statements, database) = (Arc::new(Statements::new(target)), Arc::clone(database));
        Ok(Self { statements, database })
    }

    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection, &Statements) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let statements = Arc::clone(&self.statements);
        self.database.look(move |db| query(db, &statements)).await
    }
}

#[async_trait]
impl Table for One {
    async fn write(&self, rows: Vec<Record>) -> Result<Vec<Written>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let statements = Arc::clone(&self.statements);
        self.database.write(rows.len(), move |db, _| write(db, &statements, &rows)).await
    }

    async fn read(&self, key: Vec<Value>) -> Result<Option<Record>, Error> {
        self.look(move |db, statements| statements.read(db, &key).map_err(reading)).await
    }

    async fn read_many(&self, keys: Vec<Vec<Value>>) -> Result<Vec<Option<Record>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.look(move |db, statements| {
            let rows = keys.iter().map(|key| statements.read(db, key).map_err(reading));
            rows.collect()
        })
        .await
    }

    async fn problems(&self) -> Result<Vec<String>, Error> {
        self.look(|db, statements| {
            look::problems(db, &statements.target).map_err(|error| classify(&error))
        })
        .await
    }

    async fn bounds(&self) -> Result<Vec<Bounds>, Error> {
        self.look(|db, statements| {
            let bounds = look::bounds(db, &statements.target);
            bounds.map_err(|error| classify(&error))?.ok_or_else(|| {
                Error::Unavailable(format!("{} is not as its entry says", statements.target))
            })
        })
        .await
    }

    async fn rows(&self) -> Result<u64, Error> {
        self.look(|db, statements| {
            let sql = format!("SELECT count(*) FROM main.{}", statements.target.table.quoted());
            let rows = db.query_row(&sql, [], |row| count(row, 0));
            rows.map_err(reading)
        })
        .await
    }

    async fn create(&self) -> Result<bool, Error> {
        let there = self.look(|db, statements| {
            look::is_there(db, &statements.target).map_err(|error| classify(&error))
        });
        if there.await? {
            return Ok(false);
        }
        let sql = definition(&self.statements.target);
        self.database.write(0, move |db, _| db.execute(&sql, []).map(|_| Applied::Kept(true))).await
    }
}

/// Writes `rows`. The error is the transaction's; one that is this caller's own undoes its rows alone.
fn write(
    db: &Connection,
    statements: &Statements,
    rows: &[Record],
) -> rusqlite::Result<Applied<Vec<Written>>> {
    // A table that is not there, or not as it was, is no row's fault.
    let mut insert = match db.prepare_cached(&statements.insert) {
        Ok(insert) => insert,
        Err(error) => {
            let target = &statements.target;
            let said = format!("{target} is not as it was: {error}; `forebay config check` looks");
            return Ok(undone(Error::Unavailable(said)));
        }
    };
    let mut written = Vec::with_capacity(rows.len());
    for row in rows {
        if let Mode::Upsert { .. } = statements.target.mode {
            match upsert::write(db, statements, &mut insert, row)? {
                Ok(one) => written.push(one),
                Err(error) => return Ok(undone(error)),
            }
            continue;
        }
        let changed = match insert.execute(params_from_iter(row.iter().map(Bound))) {
            Ok(changed) => changed,
            Err(error) => return own(db, error).map(undone),
        };
        if changed > 0 {
            written.push(Written::Written);
            continue;
        }
        match held::held(db, statements, row) {
            Ok(Some(held)) => written.push(held),
            Ok(None) => return Ok(undone(Error::Rejected(SKIPPED.into()))),
            Err(error) => return Ok(undone(reading(error))),
        }
    }
    Ok(Applied::Kept(written))
}

/// The answer to a caller whose rows are at fault, or whose table is.
fn undone<T>(error: Error) -> Applied<T> {
    Applied::Undone(Err(error))
}

/// What a failure to read means: what is stored may not be what its column is said to hold.
#[expect(clippy::needless_pass_by_value, reason = "it is what a closure hands on")]
fn reading(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match &error {
        rusqlite::Error::SqliteFailure(failure, _)
            if matches!(failure.code, DatabaseCorrupt | NotADatabase) =>
        {
            classify(&error)
        }
        _ => Error::Unavailable(format!("{error}; `forebay config check` looks at the table")),
    }
}

/// The statement that makes the table.
fn definition(target: &Target) -> String {
    let column = |column: &store::tables::Column| {
        let kind = match column.kind {
            Type::Bigint | Type::Bool => "INTEGER",
            Type::Double => "REAL",
            _ => "TEXT",
        };
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {kind}{null}", column.name.quoted())
    };
    let columns: Vec<_> = target.columns.iter().map(column).collect();
    let (name, keys) = (target.table.quoted(), target.quoted_keys());
    format!("CREATE TABLE main.{name} ({}, PRIMARY KEY ({keys}))", columns.join(", "))
}
