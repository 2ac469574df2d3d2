//! What counts the settled events of a pipeline, for the audit of a move.

use std::sync::Arc;

use async_trait::async_trait;
use store::Table;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the store of a pipeline holds by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Rows in it.
    pub rows: u64,
    /// Rows that are there more than once.
    pub double: u64,
    /// Events that were found to be settled already.
    pub duplicates: u64,
}

/// Counts what a pipeline has settled.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// What the store holds by now.
    ///
    /// # Errors
    /// If it can't be read.
    async fn settled(&self) -> Result<Settled, BoxError>;

    /// Whether each settled event is a row of its own, or counted as settled already. Where it is not, several
    /// events may have written one row, and others may have written rows: the audit then goes by what the
    /// processes say they were done with.
    fn is_exact(&self) -> bool;
}

/// The rows of a table, of which several events may have written one.
pub struct Rows(pub Arc<dyn Table>);

#[async_trait]
impl Ledger for Rows {
    async fn settled(&self) -> Result<Settled, BoxError> {
        Ok(Settled { rows: self.0.rows().await?, ..Settled::default() })
    }

    fn is_exact(&self) -> bool {
        false
    }
}
