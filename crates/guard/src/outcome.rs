//! How one attempt ended.

/// How one attempt ended, as far as the service's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Good,
    /// The service answered that this request is wrong. It works; the caller does not.
    Rejected,
    /// The service answered that it has too much to do (429, or 503 with `Retry-After`).
    Overloaded,
    /// It failed: a status of 500 or above, or a connection that broke or was refused.
    Failed,
    /// No answer came within the attempt's time-out.
    TimedOut,
    /// The caller gave it up for a reason of its own. It says nothing about the service.
    Abandoned,
}

impl Outcome {
    /// Whether it speaks for too many calls at once: the limit falls.
    pub(crate) fn is_overload(self) -> bool {
        matches!(self, Self::Overloaded | Self::TimedOut)
    }

    /// Whether the service is up, or `None` where it says nothing.
    pub(crate) fn is_up(self) -> Option<bool> {
        match self {
            Self::Good | Self::Rejected | Self::Overloaded => Some(true),
            Self::Failed | Self::TimedOut => Some(false),
            Self::Abandoned => None,
        }
    }
}
