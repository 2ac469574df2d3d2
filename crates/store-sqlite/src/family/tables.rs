//! Tables of others, in the store's own file.
//!
//! Types: `bigint` and `bool` are INTEGER (a bool 0 or 1), `double` is REAL, all others TEXT: a
//! `timestamptz` as `2026-03-02T03:00:00.000000Z`, whose order as text is that in time, a `numeric`
//! as its digits, which no column of number affinity would keep.

mod held;
mod look;
mod upsert;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};
use store::tables::{
    Bound as Bounds, Mode, Record, Table, Type, Value, Written, parse_time, show_time,
};
use store::{Error, Target};

use crate::column::count;
use crate::database::Database;
use crate::error::{classify, classify_write};
use crate::transaction::Applied;

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

/// The statements of one target.
#[derive(Debug)]
struct Statements {
    target: Target,
    insert: String,
    select: String,
    /// The version of the row of a key; empty of inserts.
    version: String,
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

impl Statements {
    fn new(target: &Target) -> Self {
        let (name, columns, keys) =
            (target.table.quoted(), target.quoted_columns(), target.quoted_keys());
        let marks: Vec<_> = (1..=target.columns.len()).map(|n| format!("?{n}")).collect();
        let keyed: Vec<_> = target
            .keys
            .iter()
            .enumerate()
            .map(|(n, &key)| keyed(&target.columns[key], n + 1))
            .collect();
        let from = format!("FROM main.{name} WHERE {}", keyed.join(" AND "));
        Self {
            target: target.clone(),
            insert: format!(
                "INSERT INTO main.{name} AS t ({columns}) VALUES ({}) ON CONFLICT ({keys}) {}",
                marks.join(", "),
                target.replacement()
            ),
            version: match target.mode {
                Mode::Insert => String::new(),
                Mode::Upsert { version, .. } => {
                    format!("SELECT {} {from}", target.columns[version].name.quoted())
                }
            },
            select: format!("SELECT {columns} {from}"),
        }
    }

    fn read(&self, db: &Connection, key: &[Value]) -> rusqlite::Result<Option<Record>> {
        let mut select = db.prepare_cached(&self.select)?;
        let key = key.iter().map(Bound);
        select.query_row(params_from_iter(key), |row| self.record(row)).optional()
    }

    fn record(&self, row: &Row<'_>) -> rusqlite::Result<Record> {
        let columns = self.target.columns.iter().enumerate();
        columns.map(|(at, column)| value(row, at, column.kind)).collect()
    }
}

/// Where the key's column is parameter `n`. Texts are one key only if they are equal byte by byte,
/// whatever the column's collation.
fn keyed(column: &store::tables::Column, n: usize) -> String {
    let name = column.name.quoted();
    match column.kind {
        Type::Bigint | Type::Bool => format!("{name} = ?{n}"),
        _ => format!("{name} = ?{n} COLLATE BINARY"),
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

/// `Ok` with the error of one row, which only its caller gets. `Err` where the whole transaction failed.
fn own(db: &Connection, error: rusqlite::Error) -> rusqlite::Result<Error> {
    match classify_write(&error) {
        // After some errors SQLite has rolled the whole transaction back by itself.
        refused @ (Error::Refused(_) | Error::Rejected(_)) if !db.is_autocommit() => Ok(refused),
        _ => Err(error),
    }
}

/// A value as it is bound.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Bigint(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Value::Double(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
            Value::Bool(on) => ToSqlOutput::Borrowed(ValueRef::Integer((*on).into())),
            Value::Timestamptz(micros) => ToSqlOutput::from(show_time(*micros)),
            Value::Text(text) | Value::Numeric(text) | Value::Json(text) | Value::Uuid(text) => {
                ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
            }
        })
    }
}

fn value(row: &Row<'_>, at: usize, kind: Type) -> rusqlite::Result<Value> {
    let stored = row.get_ref(at)?;
    let wrong = || {
        let name = row.as_ref().column_name(at).unwrap_or_default().to_owned();
        rusqlite::Error::InvalidColumnType(at, name, stored.data_type())
    };
    let text = || stored.as_str().map(str::to_owned).map_err(|_| wrong());
    Ok(match (kind, stored) {
        (_, ValueRef::Null) => Value::Null,
        (Type::Bigint, ValueRef::Integer(number)) => Value::Bigint(number),
        (Type::Bool, ValueRef::Integer(number)) => Value::Bool(number != 0),
        (Type::Double, ValueRef::Real(number)) => Value::Double(number),
        (Type::Timestamptz, ValueRef::Text(_)) => {
            Value::Timestamptz(parse_time(&text()?).ok_or_else(wrong)?)
        }
        (Type::Text, ValueRef::Text(_)) => Value::Text(text()?),
        (Type::Numeric, ValueRef::Text(_)) => Value::Numeric(text()?),
        (Type::Json, ValueRef::Text(_)) => Value::Json(text()?),
        (Type::Uuid, ValueRef::Text(_)) => Value::Uuid(text()?),
        _ => return Err(wrong()),
    })
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
