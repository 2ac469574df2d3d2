//! What can go wrong with a log.

use std::io;

use model::{Class, Classify};

/// A log's failure. Cloned to every caller of a failed group.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A bound is reached: nothing of this append is held.
    #[error("full: {0}")]
    Full(String),
    /// An append larger than a segment.
    #[error("{got} bytes in one append, at most {max} fit")]
    TooLarge {
        /// Bytes offered.
        got: usize,
        /// Bytes that fit.
        max: usize,
    },
    /// A write or an fsync failed: what the disk holds of the last group is unknown.
    #[error("{0}")]
    Poisoned(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// Another process holds the directory.
    #[error("{dir} is held by another process ({holder}); stop it, or use another directory")]
    Held {
        /// The directory.
        dir: String,
        /// What the lock file says of the holder.
        holder: String,
    },
    /// A key is missing, or is none. Holds no part of a key.
    #[error("{0}")]
    Key(String),
    /// The medium can't be read.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The operating system's words.
        cause: String,
    },
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(what: impl Into<String>, cause: &io::Error) -> Self {
        Self::Io { what: what.into(), cause: cause.to_string() }
    }

    /// The error of appends that the commit thread did not answer.
    pub(crate) fn panicked() -> Self {
        Self::Poisoned("the commit thread panicked".into())
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Full(_) | Self::Io { .. } => Class::Retryable,
            Self::TooLarge { .. } => Class::Rejected,
            Self::Poisoned(_) | Self::Closed | Self::Held { .. } | Self::Key(_) => Class::Fatal,
        }
    }
}
