//! What counts the settled events of a pipeline, for the audit of a move.

use async_trait::async_trait;

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
}
