//! Why an attempt brought no answer.

use std::error::Error;

use http::StatusCode;

use crate::{Phase, Took};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The attempt took longer than it may.
    TimedOut,
    /// No connection was made, or it broke.
    Connection,
    /// The answer has more bytes than it may.
    AnswerTooLong,
    /// The request is none that can be sent: its address has no host, or another scheme than http and https.
    BadRequest,
}

/// An attempt without an answer. It displays no part of the URL.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// How far the attempt came.
    pub phase: Phase,
    /// How long each phase took.
    pub took: Took,
    /// The status of an answer whose body is too long or broke off.
    pub status: Option<StatusCode>,
    pub(crate) why: String,
}

impl Failure {
    /// Whether the service surely did not get the request. Otherwise it may have acted on it.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.phase == Phase::Connect
    }
}

/// An error with what caused it, which is where the reason is.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
