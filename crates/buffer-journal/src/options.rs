//! How a journal buffer is kept.

use std::path::PathBuf;
use std::sync::Arc;

use buffer::{Error, Identity};
use journal::{Keys, Sync};

/// The directory of the dead letters, beside the segments of events.
pub(crate) const DEAD: &str = "dead";

/// Bytes that rows and their indexes take in a SQLite store for each byte of their events.
const STORE_PER_BYTE: u64 = 3;
/// The part of the file system kept free for the store's write-ahead log and one transaction's pages.
const STORE_PART: u64 = 4;
/// The same, in bytes, at most: the log's bound and as much again.
const STORE_BYTES_MAX: u64 = 256 << 20;

/// What the syncs that come before a removal may take, in milliseconds.
const SLOW_SYNCS_MS: u64 = 3_000;

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
    /// Offers are refused that would leave fewer bytes than this free on the file system.
    pub free_min_bytes: u64,
    /// How many bytes more must stay free for each byte held: what a store on the same file system
    /// needs to take the events over.
    pub free_per_byte: u64,
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
    /// How long a segment is written to, in milliseconds, while few segments are there. What is done,
    /// with all before it, is removed from the disk after this long, two checkpoints, and a sync.
    pub segment_ms_max: u64,
    /// Where the keys are that events and dead letters are encrypted with.
    pub key: Key,
}

/// Where the keys of a journal are. They are read when it is opened or looked at, and not kept here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Key {
    /// Nowhere: new events are written in plain text, and encrypted ones can't be read.
    #[default]
    None,
    /// In this file, one to a line, which only its owner may read.
    File(PathBuf),
    /// In the environment variable of this name, as in a file.
    Variable(String),
}

impl Key {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`Error::Open`] if there are none where they should be. Holds no part of a key.
    pub fn read(&self) -> Result<Option<Arc<Keys>>, Error> {
        let keys = match self {
            Self::None => return Ok(None),
            Self::File(path) => Keys::read(path),
            Self::Variable(name) => {
                let text = std::env::var(name).unwrap_or_default();
                Keys::parse(&format!("the environment variable {name}"), &text)
            }
        };
        keys.map(|keys| Some(Arc::new(keys))).map_err(|e| Error::Open(e.to_string()))
    }
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
            free_min_bytes: 0,
            free_per_byte: 0,
            events_max: 100_000_000,
            lease_ms: 30_000,
            window_max: 262_144,
            dead_max: 100_000,
            checkpoint_ms: 1000,
            segment_ms_max: 10_000,
            key: Key::None,
        }
    }

    /// How long the bytes of an event stay in a segment after it, and all before it, are settled: in
    /// milliseconds, at most, where the syncs before the removal take no longer than 3 s.
    #[must_use]
    pub fn settled_ms_max(&self) -> u64 {
        self.segment_ms_max + 2 * self.checkpoint_ms + SLOW_SYNCS_MS
    }

    /// Keeps room for a SQLite store on the same file system, of `total_bytes`, so that whatever was
    /// accepted can be settled. `journals` share the file system, this one among them. A
    /// `free_min_bytes` that is set stays.
    #[must_use]
    pub fn beside_store(mut self, total_bytes: u64, journals: u64) -> Self {
        if self.free_min_bytes == 0 {
            self.free_min_bytes = (total_bytes / STORE_PART).min(STORE_BYTES_MAX);
        }
        self.free_per_byte = STORE_PER_BYTE * journals;
        self
    }

    /// Which buffer it is, whatever its options and the links to its folder. Blocks on the disk.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::in_folder("journal", &self.dir, &["dead", "quarantine"])
    }

    pub(crate) fn events_log(&self, keys: Option<Arc<Keys>>) -> journal::Options {
        journal::Options {
            keys,
            sync: self.sync,
            segment_bytes: self.segment_bytes,
            bytes_max: self.bytes_max,
            free_min_bytes: self.free_min_bytes,
            free_per_byte: self.free_per_byte,
            ..journal::Options::new(&self.dir)
        }
    }

    /// Dead letters are few and dear: always synced, in small segments.
    pub(crate) fn dead_log(&self, keys: Option<Arc<Keys>>) -> journal::Options {
        journal::Options {
            keys,
            segment_bytes: self.segment_bytes.min(8 << 20),
            ..journal::Options::new(self.dir.join(DEAD))
        }
    }
}
