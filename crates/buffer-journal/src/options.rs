//! How a journal buffer is kept.

use std::path::PathBuf;

use journal::Sync;

/// The directory of the dead letters, beside the segments of events.
pub(crate) const DEAD: &str = "dead";

/// Options of a [`crate::JournalBuffer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The directory; made when it is not there.
    pub dir: PathBuf,
    /// When an offer counts as durable.
    pub sync: Sync,
    /// Size of a segment, in bytes.
    pub segment_bytes: u64,
    /// Offers that would take the journal past this many bytes on disk are refused.
    pub bytes_max: u64,
    /// Offers that would take it past this many events not yet done are refused.
    pub events_max: u64,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: i64,
    /// Events between the oldest one not done and the newest one leased. No further event is
    /// leased while that many lie between. Costs 32 bytes each.
    pub window_max: usize,
    /// Dead letters held at most. Burying past it fails and the event stays leased.
    pub dead_max: usize,
    /// How often progress is made durable, in milliseconds: what a crash makes come again.
    /// 0: only when asked and on closing.
    pub checkpoint_ms: u64,
}

impl Options {
    /// The defaults, in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            sync: Sync::Always,
            segment_bytes: 64 << 20,
            bytes_max: 16 << 30,
            events_max: 100_000_000,
            lease_ms: 30_000,
            window_max: 262_144,
            dead_max: 100_000,
            checkpoint_ms: 1000,
        }
    }

    pub(crate) fn events_log(&self) -> journal::Options {
        journal::Options {
            sync: self.sync,
            segment_bytes: self.segment_bytes,
            bytes_max: self.bytes_max,
            ..journal::Options::new(&self.dir)
        }
    }

    /// Dead letters are few and dear: always synced, in small segments.
    pub(crate) fn dead_log(&self) -> journal::Options {
        journal::Options {
            segment_bytes: self.segment_bytes.min(8 << 20),
            ..journal::Options::new(self.dir.join(DEAD))
        }
    }
}
