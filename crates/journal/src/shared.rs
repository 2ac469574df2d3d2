//! What the log, its readers and its commit thread share: the group that is filling, and the segments.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::catalog::Catalog;
use crate::checkpoint::Slots;
use crate::fs::Fs;
use crate::record::{self, BODY_BYTES_MAX, Entry, FIRST};
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::{Error, Options, room};

/// Resolves when a group is durable, or has failed.
pub(crate) type Written = oneshot::Receiver<Result<(), Error>>;

/// What readers, appenders and the committer share.
pub(crate) struct Shared {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) options: Options,
    /// The commit thread and the callers of [`Log::write_checkpoint`](crate::Log::write_checkpoint) write them.
    slots: Mutex<Slots>,
    pub(crate) queue: Mutex<Queue>,
    /// Something is pending, or the log closes.
    pub(crate) filled: Condvar,
    /// Bytes pending or being written.
    pub(crate) pending: AtomicUsize,
    /// Pending bytes were written.
    pub(crate) space: Notify,
    /// Records became durable.
    pub(crate) appended: Notify,
    /// The file system had too little room when it was last looked at.
    pub(crate) short: AtomicBool,
    /// Bytes that stay free for each byte held.
    free_per_byte: Arc<AtomicU64>,
    catalog: Mutex<Catalog>,
    /// Bytes of all segments.
    pub(crate) bytes: AtomicU64,
}

/// The group that is filling.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) bytes: Vec<u8>,
    pub(crate) first_seq: u64,
    pub(crate) next_seq: u64,
    pub(crate) waiters: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Those who wait for the active segment to be closed.
    pub(crate) rolls: Vec<oneshot::Sender<()>>,
    pub(crate) closed: bool,
    /// Why nothing more is appended.
    pub(crate) failed: Option<Error>,
}

impl Shared {
    pub(crate) fn new(fs: Arc<dyn Fs>, options: Options, slots: Slots, catalog: Catalog) -> Self {
        let next_seq = catalog.next_seq;
        Self {
            fs,
            free_per_byte: room::per_byte(&options.dir, options.free_per_byte),
            options,
            slots: Mutex::new(slots),
            queue: Mutex::new(Queue { first_seq: next_seq, next_seq, ..Queue::default() }),
            filled: Condvar::new(),
            pending: AtomicUsize::new(0),
            space: Notify::new(),
            appended: Notify::new(),
            short: AtomicBool::new(false),
            bytes: AtomicU64::new(catalog.segments.values().map(|s| s.end).sum()),
            catalog: Mutex::new(catalog),
        }
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check(&self, total: usize, entries: &[Entry<'_>]) -> Result<(), Error> {
        let segment_room = self.options.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES);
        let max = usize::try_from(segment_room.min(self.options.bytes_max)).unwrap_or(usize::MAX);
        let longest = entries.iter().map(|e| e.body.len()).max().unwrap_or(0);
        if total > max || longest > BODY_BYTES_MAX {
            let (got, max) = if total > max { (total, max) } else { (longest, BODY_BYTES_MAX) };
            return Err(Error::TooLarge { got, max });
        }
        if self.short.load(Ordering::Acquire) {
            return Err(Error::Full(self.free_bound()));
        }
        let held = self.bytes.load(Ordering::Acquire);
        if held + (self.pending.load(Ordering::Acquire) + total) as u64 > self.options.bytes_max {
            return Err(Error::Full(format!("bytes_max of {} bytes", self.options.bytes_max)));
        }
        Ok(())
    }

    /// Looks whether `more` bytes may be taken from the file system for `events` bytes of records, and
    /// remembers the answer for appends to come. One system call; none where nothing is to stay free.
    pub(crate) fn has_room(&self, more: u64, events: u64) -> bool {
        let Options { dir, free_min_bytes, .. } = &self.options;
        let free_per_byte = self.free_per_byte.load(Ordering::Acquire);
        if *free_min_bytes == 0 && free_per_byte == 0 {
            return true;
        }
        let free = self.fs.free(dir).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "cannot ask how much room {} has", dir.display());
            u64::MAX
        });
        let held = self.bytes.load(Ordering::Acquire) + events;
        let needed = free_min_bytes.saturating_add(held.saturating_mul(free_per_byte));
        let room = free >= needed.saturating_add(more);
        self.short.store(!room, Ordering::Release);
        room
    }

    pub(crate) fn free_bound(&self) -> String {
        let Options { dir, free_min_bytes, .. } = &self.options;
        let free_per_byte = self.free_per_byte.load(Ordering::Acquire);
        format!(
            "the file system of {} needs {free_min_bytes} bytes free, and {free_per_byte} for each \
             byte that waits",
            dir.display()
        )
    }

    /// Numbers and encodes the entries into the group that is filling; `None` while too much is
    /// pending.
    pub(crate) fn enqueue(
        &self,
        total: usize,
        entries: &[Entry<'_>],
        flags: u8,
    ) -> Result<Option<(u64, Written)>, Error> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.queue();
        if let Some(failure) = &queue.failed {
            return Err(failure.clone());
        }
        if queue.closed {
            return Err(Error::Closed);
        }
        let first_seq = queue.next_seq;
        if entries.is_empty() {
            let _ = sender.send(Ok(()));
            return Ok(Some((first_seq, receiver)));
        }
        // Only here is more added, and only under this lock: one append at most goes past the bound.
        if self.pending.load(Ordering::Acquire) >= self.options.pending_bytes_max {
            return Ok(None);
        }
        for entry in entries {
            let first = if queue.bytes.is_empty() { FIRST } else { 0 };
            let seq = queue.next_seq;
            record::encode(&mut queue.bytes, seq, flags | first, entry);
            queue.next_seq += 1;
        }
        queue.waiters.push(sender);
        self.pending.fetch_add(total, Ordering::AcqRel);
        drop(queue);
        self.filled.notify_one();
        Ok(Some((first_seq, receiver)))
    }
}
