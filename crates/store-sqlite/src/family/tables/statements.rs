//! The statements of a table, and its values as SQLite keeps them.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};
use store::tables::{Mode, Record, Type, Value, parse_time, show_time};
use store::{Error, Target};

use crate::error::classify_write;

/// The statements of one target.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) target: Target,
    pub(super) insert: String,
    pub(super) select: String,
    /// The version of the row of a key; empty of inserts.
    pub(super) version: String,
}

impl Statements {
    pub(super) fn new(target: &Target) -> Self {
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

    pub(super) fn read(&self, db: &Connection, key: &[Value]) -> rusqlite::Result<Option<Record>> {
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

/// `Ok` with the error of one row, which only its caller gets. `Err` where the whole transaction failed.
pub(super) fn own(db: &Connection, error: rusqlite::Error) -> rusqlite::Result<Error> {
    match classify_write(&error) {
        // After some errors SQLite has rolled the whole transaction back by itself.
        refused @ (Error::Refused(_) | Error::Rejected(_)) if !db.is_autocommit() => Ok(refused),
        _ => Err(error),
    }
}

/// A value as it is bound.
pub(super) struct Bound<'a>(pub(super) &'a Value);

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

pub(super) fn value(row: &Row<'_>, at: usize, kind: Type) -> rusqlite::Result<Value> {
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
