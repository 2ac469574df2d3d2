//! What can go wrong with a store.

use model::{Class, Classify};

/// A store's failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Busy, out of space, out of reach: nobody's fault in the batch.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store refused the batch. One of its rows may be at fault, or the table takes no row at
    /// the moment: the caller finds out which. Nothing was written.
    #[error("the store refuses the data: {0}")]
    Refused(String),
    /// A row can't be stored as it is, for certain.
    #[error("the store rejects the data: {0}")]
    Rejected(String),
    /// Damaged, or of a schema that this version does not know.
    #[error("the store can't be used: {0}")]
    Fatal(String),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Unavailable(_) | Self::Refused(_) => Class::Retryable,
            Self::Rejected(_) => Class::Rejected,
            Self::Fatal(_) => Class::Fatal,
        }
    }
}
