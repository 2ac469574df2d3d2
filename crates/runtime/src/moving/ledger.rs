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

    /// What the store shows of settled events.
    fn evidence(&self) -> Evidence;
}

/// What the store shows of the settled events of a pipeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Evidence {
    /// Each one: it is a row of its own, or counted as settled already.
    #[default]
    Events,
    /// Rows, of which several events may have written one, and others may have written some. The audit goes by what
    /// the processes say they were done with.
    Rows,
    /// Nothing: their effect lies elsewhere. The audit goes by what the processes say they were done with.
    Nothing,
}

/// A pipeline that keeps nothing in the store.
pub struct Unkept;

#[async_trait]
impl Ledger for Unkept {
    async fn settled(&self) -> Result<Settled, BoxError> {
        Ok(Settled::default())
    }

    fn evidence(&self) -> Evidence {
        Evidence::Nothing
    }
}

/// The rows of a table, of which several events may have written one.
pub struct Rows(pub Arc<dyn Table>);

#[async_trait]
impl Ledger for Rows {
    async fn settled(&self) -> Result<Settled, BoxError> {
        Ok(Settled { rows: self.0.rows().await?, ..Settled::default() })
    }

    fn evidence(&self) -> Evidence {
        Evidence::Rows
    }
}
