//! Where the version of a row comes from.

/// Where a row's version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The client gives it.
    Given,
    /// It is this one, and the client may give none.
    Stamped(i64),
    /// The row gives it, or else it is this one: what lies in a buffer may be another producer's.
    GivenOr(i64),
}
