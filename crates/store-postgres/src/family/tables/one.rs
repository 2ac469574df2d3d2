//! One table of others: its statements, and what reading a row of it may find.

use std::sync::Arc;

use store::tables::Record;
use store::{Error, Target};
use tokio_postgres::Row;

use super::types;
use crate::database::Database;
use crate::error::text;

/// Why a row that is stored under another key becomes a dead letter.
pub(super) const MOVED: &str = "cannot keep the row: the table stores it under another key, which a trigger \
    or the column's type made of the one sent; change the table, or send the key as it is stored";

/// The statements of one target.
pub(super) struct Statements {
    pub(super) target: Target,
    pub(super) insert: String,
    pub(super) select: String,
    /// Which versions the rows of some keys have.
    pub(super) versions: String,
}

pub(super) struct One {
    pub(super) database: Arc<Database>,
    pub(super) statements: Statements,
}

impl One {
    /// A row as the table has it.
    pub(super) fn record(&self, row: &Row) -> Result<Record, Error> {
        let kinds: Vec<_> =
            self.statements.target.columns.iter().map(|column| column.kind).collect();
        types::record(row, &kinds).map_err(|error| unreadable(&error))
    }
}

/// What is stored is not what its column is said to hold; that may be mended.
pub(super) fn unreadable(error: &tokio_postgres::Error) -> Error {
    Error::Unavailable(format!("cannot read a row: {}", text(error)))
}
