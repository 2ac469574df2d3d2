//! Group commit: callers encode into one pending group; one thread writes and syncs it.
//!
//! While a group is being synced the next one fills. No timer is involved: a lone caller waits for
//! one sync, and a crowd shares one.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::catalog::Segment;
use crate::checkpoint::Unwritten;
use crate::fs::{self, File};
use crate::gone;
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::shared::Shared;
use crate::{Error, Sync};

/// The room of the file system is looked at each time so many bytes were written.
const LOOK_BYTES: u64 = 1 << 20;

/// The thread that owns the end of the log.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// Emptied groups, for their capacity.
    spare: Vec<u8>,
    /// Bytes written since the room of the file system was looked at.
    unlooked: u64,
}

struct Active {
    base: u64,
    file: Arc<dyn File>,
    end: u64,
    /// The directory entry is not durable yet.
    entry_unsynced: bool,
    /// Bytes behind `end` were taken back, and may still be on the medium.
    uncut: bool,
}

impl Active {
    /// Whether it holds no record.
    fn is_empty(&self) -> bool {
        self.end == SEGMENT_HEADER_BYTES
    }
}

/// What the thread does next.
enum Work {
    Group(Group),
    /// Closes the active segment.
    Roll(Vec<oneshot::Sender<()>>),
}

struct Group {
    bytes: Vec<u8>,
    first_seq: u64,
    next_seq: u64,
    waiters: Vec<oneshot::Sender<Result<(), Error>>>,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, active: None, spare: Vec::new(), unlooked: 0 }
    }

    /// Runs until the log is closed and everything pending is written.
    pub(crate) fn run(mut self) {
        while let Some(work) = self.next() {
            let group = match work {
                Work::Group(group) => group,
                Work::Roll(waiters) => {
                    self.roll();
                    for waiter in waiters {
                        let _ = waiter.send(());
                    }
                    continue;
                }
            };
            let started = Instant::now();
            let result = self.write(&group);
            match &result {
                Ok(()) => {
                    metrics::histogram!("journal_commit_seconds")
                        .record(started.elapsed().as_secs_f64());
                    self.shared.pending.fetch_sub(group.bytes.len(), Ordering::AcqRel);
                    self.publish(&group);
                }
                Err(error) => self.fail(&group, error),
            }
            self.shared.space.notify_waiters();
            for waiter in group.waiters {
                // A caller that went away has its records all the same.
                let _ = waiter.send(result.clone());
            }
            self.spare = group.bytes;
            self.spare.clear();
        }
        if let Some(active) = &self.active {
            // The exact length spares the next opening a search through the preallocated rest.
            let cut = active.file.set_len(active.end).and_then(|()| active.file.sync_data());
            if let Err(e) = cut {
                tracing::warn!(error = %e, "the last segment could not be cut to its length");
            }
        }
        self.shared.catalog().writing = None;
    }

    fn next(&mut self) -> Option<Work> {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        loop {
            if !queue.rolls.is_empty() {
                return Some(Work::Roll(std::mem::take(&mut queue.rolls)));
            }
            if !queue.bytes.is_empty() {
                break;
            }
            if queue.closed {
                return None;
            }
            queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let queue = &mut *queue;
        let group = Group {
            bytes: std::mem::replace(&mut queue.bytes, std::mem::take(&mut self.spare)),
            first_seq: queue.first_seq,
            next_seq: queue.next_seq,
            waiters: std::mem::take(&mut queue.waiters),
        };
        queue.first_seq = queue.next_seq;
        Some(Work::Group(group))
    }

    /// Writes and syncs one group. After `Full` nothing of it is held.
    fn write(&mut self, group: &Group) -> Result<(), Error> {
        let segment_bytes = self.shared.options.segment_bytes;
        self.unlooked += group.bytes.len() as u64;
        if self.unlooked >= LOOK_BYTES {
            self.unlooked = 0;
            if !self.shared.has_room(0, group.bytes.len() as u64) {
                return Err(Error::Full(self.shared.free_bound()));
            }
        }
        // Another segment has no more room than one without records, and would be the same file.
        let fits = |active: &Active| {
            active.is_empty() || active.end + group.bytes.len() as u64 <= segment_bytes
        };
        if !self.active.as_ref().is_some_and(fits) {
            self.rotate(group.first_seq)?;
        }
        let options = &self.shared.options;
        let active = self.active.as_mut().expect("rotate made one");
        if let Err(e) = fs::write_all_at(&*active.file, &group.bytes, active.end) {
            return Err(undo(active, &e));
        }
        let path = segment::path(&options.dir, active.base);
        gone::check(&*self.shared.fs, &path, &*active.file)?;
        if options.sync == Sync::Always {
            let started = Instant::now();
            active.file.sync_data().map_err(|e| poisoned("fdatasync", &e))?;
            if active.entry_unsynced {
                let dir = &options.dir;
                self.shared.fs.sync_dir(dir).map_err(|e| poisoned("fsync of the directory", &e))?;
            }
            metrics::histogram!("journal_fsync_seconds").record(started.elapsed().as_secs_f64());
        }
        if active.entry_unsynced {
            // Once a segment: without this, a last segment that is gone leaves no trace, and the
            // checkpoint would still say that the log was closed where it was before.
            let promised =
                self.shared.slots().promise(&*self.shared.fs, &options.dir, group.next_seq);
            promised.map_err(|unwritten| unpromised(active, unwritten))?;
            active.entry_unsynced = false;
        }
        active.end += group.bytes.len() as u64;
        Ok(())
    }

    /// Closes the active segment and begins the one that starts with `base`.
    fn rotate(&mut self, base: u64) -> Result<(), Error> {
        self.retire()?;
        if !self.shared.has_room(self.shared.options.segment_bytes, 0) {
            return Err(Error::Full(self.shared.free_bound()));
        }
        let path = segment::path(&self.shared.options.dir, base);
        let file = self.begin(&path, base).map_err(|e| match self.shared.fs.remove(&path) {
            // Nothing of the group was written: whatever was missing (space, handles) may be there
            // the next time.
            Ok(()) if out_of_space(&e) => Error::Full("no space left on the disk".into()),
            Ok(()) => Error::io(format!("begin {}", path.display()), &e),
            Err(_) => poisoned("beginning a segment", &e),
        })?;
        let end = SEGMENT_HEADER_BYTES;
        let mut catalog = self.shared.catalog();
        let segment = Segment { file: file.clone(), end, next_seq: base };
        if catalog.segments.insert(base, segment).is_none() {
            self.shared.bytes.fetch_add(end, Ordering::AcqRel);
        }
        catalog.writing = Some(base);
        self.active = Some(Active { base, file, end, entry_unsynced: true, uncut: false });
        Ok(())
    }

    /// Closes the active segment if it holds records.
    fn roll(&mut self) {
        if self.active.as_ref().is_none_or(Active::is_empty) {
            return;
        }
        if let Err(e) = self.retire() {
            tracing::warn!(error = %e, "the segment could not be closed; it is written on");
        }
    }

    /// Cuts the active segment to its length, and writes to it no more: it may be removed from now on,
    /// also where no other segment can be begun.
    fn retire(&mut self) -> Result<(), Error> {
        let Some(active) = &self.active else { return Ok(()) };
        let cut = active.file.set_len(active.end);
        if active.uncut {
            // Records that were refused must not come back beside those that get their numbers.
            let cut = cut.and_then(|()| active.file.sync_data());
            cut.map_err(|e| poisoned("cutting a segment", &e))?;
        } else if let Err(e) = cut {
            tracing::warn!(segment = active.base, error = %e, "a segment could not be cut to its length");
        }
        self.active = None;
        self.shared.catalog().writing = None;
        Ok(())
    }

    fn begin(&self, path: &Path, base: u64) -> io::Result<Arc<dyn File>> {
        let file = self.shared.fs.open(path, true)?;
        file.set_len(0)?;
        file.allocate(self.shared.options.segment_bytes)?;
        fs::write_all_at(&*file, &segment::header(base), 0)?;
        Ok(file)
    }

    /// Shows the group to readers. Only now may anybody see it.
    fn publish(&self, group: &Group) {
        let active = self.active.as_ref().expect("a group was written to it");
        {
            let mut catalog = self.shared.catalog();
            let segment = catalog.segments.get_mut(&active.base).expect("made by rotate");
            segment.end = active.end;
            segment.next_seq = group.next_seq;
            catalog.next_seq = group.next_seq;
        }
        self.shared.bytes.fetch_add(group.bytes.len() as u64, Ordering::AcqRel);
        self.shared.appended.notify_waiters();
    }

    /// Gives the group's numbers back and fails whatever was numbered behind it.
    fn fail(&mut self, group: &Group, error: &Error) {
        let mut queue = self.shared.queue();
        let queue = &mut *queue;
        self.shared.pending.fetch_sub(group.bytes.len() + queue.bytes.len(), Ordering::AcqRel);
        queue.bytes.clear();
        queue.first_seq = group.first_seq;
        queue.next_seq = group.first_seq;
        if let Error::Poisoned(_) = error {
            tracing::error!(error = %error, "the journal takes no more events");
            queue.failed = Some(error.clone());
        }
        for waiter in queue.waiters.drain(..) {
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

impl Drop for Committer {
    /// Answers all who wait, also after a panic: nothing else would.
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        if std::thread::panicking() {
            queue.failed.get_or_insert(Error::panicked());
        }
        queue.waiters.clear();
        queue.rolls.clear();
        drop(queue);
        self.shared.space.notify_waiters();
    }
}

/// Takes back what a failed write left. The log goes on if that works, and only then.
fn undo(active: &mut Active, cause: &io::Error) -> Error {
    if !out_of_space(cause) {
        return poisoned("write", cause);
    }
    let full = Error::Full("no space left on the disk".into());
    take_back(active).map_or_else(|poisoned| poisoned, |()| full)
}

/// Cuts off what lies behind the last group that was accepted.
fn take_back(active: &mut Active) -> Result<(), Error> {
    active.uncut = true;
    active.file.set_len(active.end).map_err(|e| poisoned("taking back a group", &e))
}

/// Takes back a group that no checkpoint promises. Where a checkpoint may promise it all the same, the
/// group must stay: its numbers would count as gone.
fn unpromised(active: &mut Active, unwritten: Unwritten) -> Error {
    match unwritten {
        Unwritten::Unknown(cause) => Error::Poisoned(format!("sync of the checkpoint: {cause}")),
        Unwritten::Absent(cause) => take_back(active).map_or_else(|poisoned| poisoned, |()| cause),
    }
}

fn poisoned(what: &str, cause: &io::Error) -> Error {
    Error::Poisoned(format!("{what} failed: {cause}"))
}

fn out_of_space(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
