//! What can go wrong with the server as a whole. Trouble with one request is an answer, not an error.

use std::time::Duration;

use model::{Class, Classify};

/// A server's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another recorder of metrics is installed in this process.
    #[error("metrics can't be recorded: {0}; install no other recorder in this process")]
    Recorder(String),
    /// The grace period ended before all requests did. Their clients have no answer, and try again.
    #[error("{connections} connections were still busy {grace:?} after the stop and were cut")]
    Cut {
        /// How many.
        connections: usize,
        /// [`crate::Options::grace`].
        grace: Duration,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Recorder(_) => Class::Fatal,
            Self::Cut { .. } => Class::Retryable,
        }
    }
}
