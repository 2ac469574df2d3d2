//! A payment before it is written.

use model::clock::EpochMs;

use super::kind::Kind;

/// A payment still in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    pub(super) card: usize,
    pub(super) category: usize,
    pub(super) amount: i64,
    pub(super) at_ms: EpochMs,
    pub(super) label: Option<Kind>,
}
