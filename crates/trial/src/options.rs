//! Where a buffer lies, and its bounds.

use std::path::PathBuf;

/// Where a buffer lies, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder; made when it is not there.
    pub folder: PathBuf,
    /// Most events held at once.
    pub events_max: usize,
    /// Most dead letters held at once.
    pub dead_max: usize,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: i64,
}
