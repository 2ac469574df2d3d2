//! A row that was accepted, what was shown before it, and how much may be known.

use std::sync::Arc;

use bytes::Bytes;
use model::Event;
use model::clock::EpochMs;

/// A row's key as text.
pub(crate) type Key = Arc<str>;

/// Parts with a lock of their own.
pub(crate) const SHARDS: usize = 64;
/// What an entry takes besides its row and its key, in bytes, about.
pub(super) const ENTRY_BYTES: usize = 200;

/// How much may be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) pending_max: usize,
    pub(crate) pending_bytes_max: usize,
    pub(crate) cache_entries_max: usize,
    pub(crate) cache_bytes_max: usize,
    pub(crate) cache_ttl_ms: i64,
    pub(crate) negative_ttl_ms: i64,
}

/// A row that was accepted, and that the store may not have yet.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// Its payload is the row as it is shown.
    pub(crate) event: Event,
    /// `None` of a table of inserts.
    pub(crate) version: Option<i64>,
    /// It was accepted by then.
    pub(crate) accepted_by_ms: EpochMs,
    /// The store is known to hold nothing that stands before it.
    pub(crate) newest: bool,
    /// How it stands to what was shown of its key before.
    pub(crate) before: Before,
}

/// What was shown of a key before a row of it was accepted, and stands before that row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// This row: the answer while the store cannot be asked.
    Row(Bytes, Option<i64>),
    /// Perhaps a row that the cache has evicted.
    Forgotten,
}

impl Before {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Row(row, _) => row.len(),
            Self::Nothing | Self::Forgotten => 0,
        }
    }
}

impl Pending {
    /// Whether it takes the place of a row of this version. No insert does.
    pub(crate) fn is_newer_than(&self, version: Option<i64>) -> bool {
        self.version > version
    }

    /// The newest row of its key that was shown, itself among them. `None` where only the version
    /// of a newer one may be known.
    pub(super) fn newest_shown(&self) -> Option<(Bytes, Option<i64>)> {
        match &self.before {
            Before::Row(row, version) => Some((row.clone(), *version)),
            Before::Nothing => Some((shown(&self.event), self.version)),
            Before::Forgotten => None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        cost(&self.event) + self.before.bytes()
    }
}

/// What `event` takes, in bytes, about.
pub(crate) fn cost(event: &Event) -> usize {
    event.as_bytes().len() + ENTRY_BYTES
}

/// The row as it is shown.
pub(super) fn shown(event: &Event) -> Bytes {
    Bytes::copy_from_slice(event.payload())
}
