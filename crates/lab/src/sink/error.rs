//! What can go wrong with a sink.

use model::{Class, Classify};

/// A sink's failure: one sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Out of reach, or failing for a cause that may pass.
    #[error("{0}")]
    Unavailable(String),
    /// It will not take this, now or later.
    #[error("{0}")]
    Rejected(String),
    /// Whoever read the lines has gone away, as `head` does when it has enough.
    #[error("the reader of the output has gone away")]
    ReaderGone,
    /// It can't be used any more.
    #[error("{0}")]
    Fatal(String),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Unavailable(_) => Class::Retryable,
            Self::Rejected(_) => Class::Rejected,
            Self::ReaderGone | Self::Fatal(_) => Class::Fatal,
        }
    }
}

impl From<buffer::Error> for Error {
    fn from(error: buffer::Error) -> Self {
        match error.class() {
            Class::Retryable => Self::Unavailable(error.to_string()),
            Class::Rejected => Self::Rejected(error.to_string()),
            Class::Fatal => Self::Fatal(error.to_string()),
        }
    }
}
