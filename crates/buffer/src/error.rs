//! What can go wrong with a buffer.

use std::time::Duration;

use model::{Class, Classify};

/// A buffer's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bound is reached: refused, nothing held. Offer again after a while.
    #[error("the buffer is full ({bound}); try again in {} s", retry_after.as_secs().max(1))]
    Full {
        /// Which bound, with its value and unit.
        bound: String,
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// This batch is larger than the buffer could ever hold at once.
    #[error("a batch of {got} is more than the {max} this buffer takes at once; offer fewer")]
    TooMany {
        /// What was offered (events or bytes, as `unit` of the bound says).
        got: usize,
        /// The bound.
        max: usize,
    },
    /// The backend can't be reached or read just now.
    #[error("the buffer is unavailable: {0}")]
    Unavailable(String),
    /// A write or an fsync failed: what the disk holds of the last writes is unknown, so nothing more is
    /// accepted. What was accepted before can still be leased.
    #[error("the buffer refuses new events because a write failed: {0}; restart to recover")]
    Poisoned(String),
    /// Closed by us.
    #[error("the buffer is closed")]
    Closed,
    /// Another process has it, which may let go of it; or it is to be erased and still holds something.
    #[error("{0}")]
    Held(String),
    /// It can't be used as configured: a right, a key of another type, a queue that is not there. The
    /// configuration or the backend has to change, which may happen while the process runs: retryable.
    #[error("{0}")]
    Open(String),
    /// The backend can't do what was asked for. The sentence says what to do instead.
    #[error("{0}")]
    Unsupported(String),
    /// What is on the medium contradicts itself.
    #[error("the buffer is damaged: {0}")]
    Corrupt(String),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            // An operator may restore a right or a queue while this process runs.
            Self::Full { .. } | Self::Unavailable(_) | Self::Held(_) | Self::Open(_) => {
                Class::Retryable
            }
            Self::TooMany { .. } | Self::Unsupported(_) => Class::Rejected,
            Self::Poisoned(_) | Self::Closed | Self::Corrupt(_) => Class::Fatal,
        }
    }
}
