//! Upserts: a row is written if its version is greater than the stored one, and read back.
//!
//! Versions are compared here and not in SQL, for as text a moment that another program wrote in
//! another form (`2026-03-02 12:00:00`) is not in the order of time. The writer is alone in its
//! transaction, so nothing changes between the look, the write and the look back.

use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use store::Error;
use store::tables::{Mode, Record, Stored, Type, Value, Written, parse_time};

use super::statements::{Bound, Statements, own};

/// Writes one row. The outer error is the transaction's, the inner one this caller's own.
pub(super) fn write(
    db: &Connection,
    statements: &Statements,
    insert: &mut rusqlite::Statement<'_>,
    row: &Record,
) -> rusqlite::Result<Result<Written, Error>> {
    let target = &statements.target;
    let key = target.key(row);
    let sent = target.version(row);
    match held(db, statements, &key)? {
        Held::Other(stored @ Stored::Unreadable(_)) => return Ok(Err(target.unkept(row, &stored))),
        Held::Version(version, _) if Some(version) >= sent => return Ok(Ok(Written::Older)),
        Held::Version(..) | Held::Other(_) => {}
    }
    if let Err(error) = insert.execute(params_from_iter(row.iter().map(Bound))) {
        return own(db, error).map(Err);
    }
    Ok(match held(db, statements, &key)? {
        Held::Version(version, _) if Some(version) == sent => Ok(Written::Written),
        Held::Version(_, shown) => Err(target.unkept(row, &Stored::Version(shown))),
        Held::Other(stored) => Err(target.unkept(row, &stored)),
    })
}

/// What the table holds of a key.
enum Held {
    /// A row of this version, and how it is stored.
    Version(i64, String),
    /// None that can be compared.
    Other(Stored),
}

fn held(db: &Connection, statements: &Statements, key: &[Value]) -> rusqlite::Result<Held> {
    let Mode::Upsert { version, .. } = statements.target.mode else {
        return Ok(Held::Other(Stored::Nothing));
    };
    let mut select = db.prepare_cached(&statements.version)?;
    let key = params_from_iter(key.iter().map(Bound));
    // A text that is no UTF-8 is this row's trouble, and not that of all who share the transaction.
    let read = |row: &Row<'_>| {
        Ok(match row.get_ref(0)? {
            ValueRef::Null => Sql::Null,
            ValueRef::Integer(number) => Sql::Integer(number),
            ValueRef::Real(number) => Sql::Real(number),
            ValueRef::Text(text) => Sql::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Sql::Blob(bytes.to_vec()),
        })
    };
    let stored = select.query_row(key, read).optional()?;
    Ok(match (statements.target.columns[version].kind, stored) {
        (_, None) => Held::Other(Stored::Nothing),
        (_, Some(Sql::Null)) => Held::Other(Stored::Null),
        (Type::Bigint, Some(Sql::Integer(number))) => Held::Version(number, number.to_string()),
        (Type::Timestamptz, Some(Sql::Text(text))) => match parse_time(&text) {
            Some(micros) => Held::Version(micros, text),
            None => Held::Other(Stored::Unreadable(text)),
        },
        (_, Some(Sql::Text(text))) => Held::Other(Stored::Unreadable(text)),
        (_, Some(Sql::Integer(number))) => Held::Other(Stored::Unreadable(number.to_string())),
        (_, Some(Sql::Real(number))) => Held::Other(Stored::Unreadable(number.to_string())),
        (_, Some(Sql::Blob(_))) => Held::Other(Stored::Unreadable("a blob".to_owned())),
    })
}
