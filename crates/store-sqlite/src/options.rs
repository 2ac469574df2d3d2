//! How a store is set up.

use std::path::PathBuf;

/// How a store is set up. [`Options::at`] gives the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The database file. It and its directories are created where missing; the `-wal` and `-shm`
    /// files lie beside it.
    pub path: PathBuf,
    /// How long, in milliseconds, a lock held by another program is waited for before the store
    /// counts as unavailable.
    pub busy_timeout_ms: u32,
    /// The writer's page cache, in KiB.
    pub cache_kib: u32,
    /// Calls that may wait for the writer; the next caller waits to be let in.
    pub queue_max: usize,
    /// How long, in bytes, the write-ahead log grows before the writer lends a hand to make it
    /// start over. Half of it is where that begins, if it costs no wait.
    pub wal_bytes_max: u64,
}

impl Options {
    /// The defaults, for a database at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            busy_timeout_ms: 5_000,
            cache_kib: 16 * 1024,
            queue_max: 64,
            wal_bytes_max: 128 * 1024 * 1024,
        }
    }
}
