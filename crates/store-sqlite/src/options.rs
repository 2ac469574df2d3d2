//! How a store is set up.

use std::path::PathBuf;

/// The write-ahead log takes at most this part of its file system.
const WAL_PART: u64 = 16;
/// A shorter log, in bytes, would start over at nearly every transaction.
const WAL_BYTES_MIN: u64 = 1024 * 1024;
/// A page (4,096 bytes, SQLite's default) and its header in the log.
const FRAME_BYTES: u64 = 4_096 + 24;

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
    /// start over. Half of it is where that begins, if it costs no wait. On a small file system it
    /// is a sixteenth of that, and 1 MiB at least.
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

    /// [`Options::wal_bytes_max`] in pages.
    pub(crate) fn wal_pages_max(&self) -> u64 {
        self.wal_bytes_max / FRAME_BYTES
    }

    /// On a small file system, a log of at most a part of it.
    pub(crate) fn bounded_by_its_file_system(mut self) -> Self {
        match rustix::fs::statvfs(&self.path) {
            Ok(space) => {
                let total = space.f_blocks.saturating_mul(space.f_frsize);
                self.wal_bytes_max = self.wal_bytes_max.min(total / WAL_PART).max(WAL_BYTES_MIN);
            }
            Err(error) => tracing::warn!(
                %error, "cannot ask for the size of the file system of {}", self.path.display()
            ),
        }
        self
    }
}
