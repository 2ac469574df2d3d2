//! How a log is kept.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Keys;

/// When an append counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// After `fdatasync`: survives kill -9 and power loss.
    #[default]
    Always,
    /// After the write: survives kill -9, not power loss.
    Os,
}

/// Options of a [`crate::Log`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The directory; made when it is not there.
    pub dir: PathBuf,
    /// When an append counts as durable.
    pub sync: Sync,
    /// A segment is closed before it would pass this many bytes. It is also the size preallocated.
    pub segment_bytes: u64,
    /// The log refuses appends that would take it past this many bytes on disk.
    pub bytes_max: u64,
    /// Appends are refused that would leave fewer bytes than this free on the file system.
    pub free_min_bytes: u64,
    /// How many bytes more must stay free for each byte that the log holds: what others on the same
    /// file system need to take over what the log holds.
    pub free_per_byte: u64,
    /// Bytes encoded and not yet written; appends wait while more are pending.
    pub pending_bytes_max: usize,
    /// What records are encrypted with and decrypted with; without it new ones are in plain text.
    pub keys: Option<Arc<Keys>>,
}

impl Options {
    /// The defaults, in `dir`: `fdatasync` always, 64 MiB segments, 16 GiB in all.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            sync: Sync::Always,
            segment_bytes: 64 << 20,
            bytes_max: 16 << 30,
            free_min_bytes: 0,
            free_per_byte: 0,
            pending_bytes_max: 16 << 20,
            keys: None,
        }
    }
}
