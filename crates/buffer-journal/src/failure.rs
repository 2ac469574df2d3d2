//! Errors of the log as errors of the buffer.

use std::time::Duration;

use buffer::Error;

/// When a refused producer should try again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error of opening a log.
pub(crate) fn open(error: &journal::Error) -> Error {
    match error {
        journal::Error::Held { .. } => Error::Held(error.to_string()),
        _ => Error::Open(error.to_string()),
    }
}

/// An error of an open log.
pub(crate) fn error_of(error: &journal::Error) -> Error {
    use journal::Error as Journal;
    match error {
        Journal::Full(bound) => Error::Full { bound: bound.clone(), retry_after: RETRY_AFTER },
        Journal::TooLarge { got, max } => Error::TooMany { got: *got, max: *max },
        Journal::Poisoned(cause) => Error::Poisoned(cause.clone()),
        Journal::Closed => Error::Closed,
        Journal::Held { .. } => Error::Held(error.to_string()),
        Journal::Key(_) => Error::Open(error.to_string()),
        Journal::Io { .. } => Error::Unavailable(error.to_string()),
    }
}
