//! Why a move is not joined or led.

use model::{Class, Classify};

/// Why a move is not joined or led.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store, which keeps track of moves, did not do it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The buffers, or the state of the move, do not allow it. The text says what to do.
    #[error("{0}")]
    Refused(String),
    /// No running process has joined the move.
    #[error(
        "no running process has joined this migration: start `forebay serve` with this configuration \
         (buffer and next_buffer), wherever it runs, and then run this again"
    )]
    NoneJoined,
    /// There is no move to change.
    #[error("no move is recorded; leave it out")]
    NoMove,
    /// The recorded move is none between these buffers.
    #[error("{0}")]
    Unlike(String),
    /// What the audit counts could not be counted.
    #[error("cannot count what is settled")]
    Uncounted(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            _ => Class::Fatal,
        }
    }
}
