//! The three kinds of failure. The pipeline branches on nothing finer.

/// What may be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same call may succeed later: wait and try again.
    Retryable,
    /// This input will never succeed: refuse it, or bury it, and go on with its neighbours.
    Rejected,
    /// Nothing further can be trusted: stop taking work and say so.
    Fatal,
}

/// Every error type of the workspace says which class it is.
pub trait Classify {
    /// The class of this failure.
    fn class(&self) -> Class;
}
