//! Tables that are not ours: rows of any shape, written in batches and read by key.
//!
//! A version decides between two writes of one row, not the order in which they arrive: a batch
//! whose acknowledgement was lost comes again, perhaps after a newer write of the same row was
//! settled and acknowledged. So [`Mode::Upsert`] has no meaning without a version column.

mod bound;
mod jsonb;
mod name;
mod target;
mod time;
mod unkept;
mod value;

use std::sync::Arc;

use async_trait::async_trait;
pub use bound::{Bound, Takes};
pub use name::{NAME_BYTES_MAX, Name};
pub use target::{COLUMNS_MAX, Column, KEYS_MAX, Mode, Target, Type};
pub use time::{MICROS_MAX, MICROS_MIN, parse_time, show_time};
pub use unkept::Stored;
pub use value::{Record, Value};

use crate::Error;

/// What became of one row of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is in the table now, durably.
    Written,
    /// The table holds the row in this version or a newer one ([`Mode::Upsert`]).
    Older,
    /// The table holds this row, compared as its columns store it ([`Mode::Insert`]).
    Same,
    /// The table holds another row of this key ([`Mode::Insert`]), and this is how it differs.
    Another(String),
}

/// One table of somebody else's.
#[async_trait]
pub trait Table: Send + Sync + 'static {
    /// Writes all of `rows` in one transaction, durably, or none of them; one answer for each, in
    /// their order. Each has a value for each column of the target, in the target's order. No two
    /// rows of an upsert may have the same key; of an insert, the first row of a key is written.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the table skips a row (a trigger may), stores it under another key, or
    /// does not keep its version ([`Mode::Upsert`]), [`Error::Refused`] when it refuses a row or takes
    /// none at the moment: the transaction is rolled back, with what triggers wrote in it.
    /// [`Error::Unavailable`] when it is worth trying again: the commit may have gone through
    /// unheard, and writing again does no harm.
    async fn write(&self, rows: Vec<Record>) -> Result<Vec<Written>, Error>;

    /// The row of `key` (values in the order of [`Target::keys`]), if there is one.
    ///
    /// # Errors
    /// If it can't be read, or holds what its column's type does not.
    async fn read(&self, key: Vec<Value>) -> Result<Option<Record>, Error>;

    /// The rows of `keys`, as [`Table::read`] gives each, in the order of `keys`. Other writes may come in between.
    /// The default reads one after the other.
    ///
    /// # Errors
    /// As [`Table::read`], for the first key that can't be read.
    async fn read_many(&self, keys: Vec<Vec<Value>>) -> Result<Vec<Option<Record>>, Error> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.push(self.read(key).await?);
        }
        Ok(rows)
    }

    /// What keeps rows from being written, one sentence each: a table, a column, a type or a unique
    /// key that is not there. Nothing is changed.
    ///
    /// # Errors
    /// If it can't be looked at.
    async fn problems(&self) -> Result<Vec<String>, Error>;

    /// What each column takes, in the target's order. Rows that it refuses are refused by the table.
    ///
    /// # Errors
    /// [`Error::Unavailable`] also where the table or a column is not there (yet).
    async fn bounds(&self) -> Result<Vec<Bound>, Error>;

    /// How many rows the table has, whoever wrote them. Reads all of it.
    ///
    /// # Errors
    /// If it can't be read.
    async fn rows(&self) -> Result<u64, Error>;

    /// Makes the table if it is not there. Returns whether it was made.
    ///
    /// # Errors
    /// If it can't be made.
    async fn create(&self) -> Result<bool, Error>;
}

/// A store that also keeps tables of others.
pub trait Tables: Send + Sync + 'static {
    /// The table that `target` describes. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Fatal`] when it is no table that this store can keep.
    fn table(&self, target: &Target) -> Result<Arc<dyn Table>, Error>;
}
