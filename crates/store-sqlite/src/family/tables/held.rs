//! What a table holds of a row that an insert left out.
//!
//! SQLite keeps a value as its column's affinity makes it, and looks at nothing else: a `numeric`
//! is text, and is compared as the exact number that the text is.

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use store::tables::{Record, Value, Written};

use super::statements::{Bound, Statements, value};

/// What became of `row`, which an INSERT left out. `None` when the table holds nothing that would
/// explain it.
pub(super) fn held(
    db: &Connection,
    statements: &Statements,
    row: &Record,
) -> rusqlite::Result<Option<Written>> {
    let mut select = db.prepare_cached(&statements.select)?;
    let key = statements.target.key(row);
    let compare = |there: &Row<'_>| {
        Ok(match difference(statements, there, row) {
            None => Written::Same,
            Some(how) => Written::Another(how),
        })
    };
    select.query_row(params_from_iter(key.iter().map(Bound)), compare).optional()
}

/// How the stored row differs from the one that was sent.
fn difference(statements: &Statements, there: &Row<'_>, row: &Record) -> Option<String> {
    let columns = statements.target.columns.iter().zip(row).enumerate();
    columns.into_iter().find_map(|(at, (column, sent))| {
        let name = &column.name;
        match value(there, at, column.kind) {
            Ok(stored) if is_same(&stored, sent) => None,
            Ok(_) => Some(format!("column \"{name}\" differs")),
            Err(_) => {
                let kind = column.kind.name();
                Some(format!("column \"{name}\" holds what can't be read as {kind}"))
            }
        }
    })
}

fn is_same(stored: &Value, sent: &Value) -> bool {
    match (stored, sent) {
        (Value::Numeric(stored), Value::Numeric(sent)) => plain(stored) == plain(sent),
        // A REAL column keeps -0.0 as 0.0.
        (Value::Double(stored), Value::Double(sent)) => stored == sent,
        (stored, sent) => stored == sent,
    }
}

/// The sign and the digits of a decimal number, without zeros that say nothing.
fn plain(number: &str) -> (bool, &str) {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    let digits = digits.trim_start_matches('0');
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    (negative && !digits.is_empty(), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_whatever_their_zeros() {
        let check = |a: &str, b: &str, expect: bool| {
            assert_eq!(plain(a) == plain(b), expect, "{a} {b}");
        };
        for (a, b) in
            [("1.5", "1.50"), ("0", "-0.00"), ("007", "7."), ("0.5", ".5"), ("10", "10.0")]
        {
            check(a, b, true);
        }
        for (a, b) in [("1", "10"), ("1", "-1"), ("0.1", "0.01"), ("1e3", "1000"), ("1", "1.0x")] {
            check(a, b, false);
        }
    }
}
