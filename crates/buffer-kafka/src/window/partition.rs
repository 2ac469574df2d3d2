//! One partition of ours: what is held of it, and how far all of it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use model::clock::EpochMs;

use crate::progress;
use crate::record::Told;

/// Who has an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nobody yet.
    Fresh,
    /// Nobody, from this time on.
    Ready(Instant),
    /// A worker until this time; nobody after that.
    Leased(Instant),
    /// Ourselves, while its burial or its copy in another partition is being written.
    Kept,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) told: Told,
    /// How often it has been leased by this process.
    pub(super) leases: u32,
    /// Which receipt is valid for it.
    pub(super) epoch: u32,
    pub(super) hold: Hold,
}

/// What is committed of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) partition: i32,
    /// All below it is done.
    pub(crate) low: i64,
    /// What is done above it.
    pub(crate) metadata: String,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) term: u64,
    /// The offset after the last one read.
    pub(super) next: i64,
    /// Others get it soon.
    pub(super) revoking: bool,
    /// Whether there is something to commit.
    pub(super) dirty: bool,
    held: BTreeMap<i64, Held>,
    /// Done, from the watermark on.
    done: BTreeSet<i64>,
    bytes: usize,
}

impl Partition {
    pub(super) fn new(term: u64, next: i64, done: BTreeSet<i64>) -> Self {
        let held = BTreeMap::new();
        Self { term, next, revoking: false, dirty: false, held, done, bytes: 0 }
    }

    /// Whether the record is held now and was not before.
    pub(super) fn ingest(&mut self, told: Told) -> bool {
        let offset = told.place.offset;
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        if self.done.contains(&offset) {
            self.dirty = true;
            return false;
        }
        self.bytes += told.event.as_bytes().len();
        self.held.insert(offset, Held { told, leases: 0, epoch: 0, hold: Hold::Fresh });
        true
    }

    /// How many offsets from the next one up to `offset` are no record, where nothing of them was read.
    pub(super) fn empty_below(&self, offset: i64) -> u64 {
        if offset <= self.next {
            return 0;
        }
        let done = self.done.range(self.next..offset).count() as u64;
        (offset - self.next).unsigned_abs().saturating_sub(done)
    }

    /// All below `next` was read or is no record: control records, aborted ones, gaps of compaction.
    pub(super) fn pass_to(&mut self, next: i64) {
        if next > self.next {
            self.next = next;
            self.dirty = true;
        }
    }

    pub(super) fn get_mut(&mut self, offset: i64) -> Option<&mut Held> {
        self.held.get_mut(&offset)
    }

    /// It is done for good. Returns its bytes.
    pub(super) fn finish(&mut self, offset: i64) -> usize {
        let Some(held) = self.held.remove(&offset) else { return 0 };
        let bytes = held.told.event.as_bytes().len();
        self.bytes -= bytes;
        self.done.insert(offset);
        self.dirty = true;
        bytes
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// How far what is held reaches, in records held or done above the watermark.
    pub(super) fn span(&self) -> usize {
        self.held.len() + self.done.len()
    }

    pub(super) fn leased(&self, now: Instant) -> usize {
        let is_leased = |held: &&Held| match held.hold {
            Hold::Leased(until) => until > now,
            Hold::Kept => true,
            Hold::Fresh | Hold::Ready(_) => false,
        };
        self.held.values().filter(is_leased).count()
    }

    pub(super) fn oldest(&self) -> Option<EpochMs> {
        self.held.values().next().map(|held| held.told.accepted_at_ms)
    }

    /// What is to be committed, if anything is or all is asked for.
    pub(super) fn progress(&mut self, partition: i32, all: bool) -> Option<Progress> {
        if !std::mem::take(&mut self.dirty) && !all {
            return None;
        }
        let low = self.held.keys().next().map_or(self.next, |first| *first);
        self.done = self.done.split_off(&low);
        Some(Progress { partition, low, metadata: progress::metadata(low, &self.done) })
    }
}
