//! What a read answers, and where that is known from.

use bytes::Bytes;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What was accepted and is not settled yet.
    Buffer,
    /// What was read or settled a moment ago.
    Cache,
    /// The table itself.
    Store,
}

impl Source {
    /// As it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::Cache => "cache",
            Self::Store => "store",
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The row as a JSON object; `None` when there is none.
    pub row: Option<Bytes>,
    /// Where that is known from.
    pub source: Source,
}
