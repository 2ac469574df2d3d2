//! The bounds of a buffer in memory.

use crate::Identity;

/// The bounds of a [`Memory`](super::Memory).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most events held at once, leased ones among them.
    pub events_max: usize,
    /// Most bytes held at once (ids, keys and payloads), leased ones among them.
    pub bytes_max: usize,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: i64,
    /// Most dead letters held at once.
    pub dead_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            events_max: 100_000,
            bytes_max: 256 * 1024 * 1024,
            lease_ms: 30_000,
            dead_max: 10_000,
        }
    }
}

impl Options {
    /// Which buffer it is: every opening makes another one.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::in_memory("memory")
    }
}
