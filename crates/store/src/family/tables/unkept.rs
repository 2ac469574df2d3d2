//! Why a row is rejected whose version the table did not keep.
//!
//! A version decides between writes only if the table stores the one that was sent. Types, triggers
//! and rules of the table may change it; then the transaction is rolled back and the row is rejected.

use super::{Mode, Record, Target, Value, show_time};
use crate::Error;

/// What the table holds of a row after it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// No row of its key.
    Nothing,
    /// A row without a version.
    Null,
    /// A row of this version, as text.
    Version(String),
    /// A row of a version that is not of the column's type, as text.
    Unreadable(String),
}

impl Target {
    /// Rejects `row`, which the table changed, skipped or kept out. Names the version column, the
    /// version that was sent, and what the table holds.
    #[must_use]
    pub fn unkept(&self, row: &Record, stored: &Stored) -> Error {
        let Mode::Upsert { version, .. } = self.mode else {
            return Error::Fatal("a table of inserts has no versions".to_owned());
        };
        let (name, kind) = (&self.columns[version].name, self.columns[version].kind.name());
        let sent = match &row[version] {
            Value::Timestamptz(micros) => show_time(*micros),
            Value::Bigint(number) => number.to_string(),
            _ => "none".to_owned(),
        };
        let (found, remedy) = match stored {
            Stored::Nothing => (
                "no row of this key".to_owned(),
                "a trigger or row security skipped the row, or its key was changed; change the table",
            ),
            Stored::Null => ("none".to_owned(), "check the triggers of the table"),
            Stored::Version(version) => {
                (version.clone(), "check the type of the column and the triggers of the table")
            }
            Stored::Unreadable(version) => {
                (format!("{version}, which is no {kind}"), "correct the stored row")
            }
        };
        Error::Rejected(format!(
            "cannot keep the version in column \"{name}\": sent {sent}, the table holds {found}; {remedy}"
        ))
    }
}
