//! The log as its callers see it, and what opening one finds.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Notify, oneshot};

use crate::checkpoint::{Checkpoint, Slots};
use crate::commit::Committer;
use crate::encryption::{ADDED_BYTES, Encrypted};
use crate::fs::{Fs, read_full_at};
use crate::record::{self, Decoded, ENCRYPTED, Entry, HEADER_BYTES, Record};
use crate::segment;
use crate::shared::Shared;
use crate::{Error, Options, Reader, Recovery, encryption};

/// A log, open for appending. Dropping it closes it.
pub struct Log {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
    _lock: Box<dyn Send + std::marker::Sync>,
}

/// A log's directory that is locked and not opened yet.
pub struct Held {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) options: Options,
    lock: Box<dyn Send + std::marker::Sync>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments.
    pub segments: usize,
    /// One past the last durable record's number.
    pub next_seq: u64,
    /// The first number of the segment that is written to, if one is.
    pub writing: Option<u64>,
}

impl Log {
    /// Takes the lock of the log in `options.dir`, and makes the directory if it is not there.
    ///
    /// # Errors
    /// [`Error::Held`] when another process has it, [`Error::Io`] when the medium can't be used,
    /// [`Error::Key`] when a key is missing: then nothing is changed.
    pub fn hold(fs: Arc<dyn Fs>, options: Options) -> Result<Held, Error> {
        // First: a wrong key changes nothing.
        encryption::check(&*fs, &options)?;
        let dir = &options.dir;
        let failed = |what: &str, e| Error::io(format!("{what} {}", dir.display()), &e);
        fs.create_dir(dir).map_err(|e| failed("create", e))?;
        let lock_path = dir.join("LOCK");
        let Some(lock) = fs.lock(&lock_path).map_err(|e| failed("lock", e))? else {
            let holder = std::fs::read_to_string(&lock_path).unwrap_or_default();
            return Err(Error::Held { dir: dir.display().to_string(), holder });
        };
        Ok(Held { fs, options, lock })
    }

    /// Holds the log in `options.dir` and opens it.
    ///
    /// # Errors
    /// As [`Log::hold`] and [`Held::open`].
    pub fn open(fs: Arc<dyn Fs>, options: Options) -> Result<(Self, Recovery), Error> {
        Self::hold(fs, options)?.open(&[])
    }

    /// Appends all entries, in order and without others in between, and returns the number of the
    /// first once they are durable. Waits while too much is pending.
    ///
    /// # Errors
    /// [`Error::Full`]: nothing is held, nor if the operating system gives no random bytes to encrypt with
    /// ([`Error::Io`]). [`Error::Poisoned`]: unknown, and nothing more will be.
    pub async fn append(&self, entries: &[Entry<'_>]) -> Result<u64, Error> {
        let shared = &*self.shared;
        let encrypted = match &shared.options.keys {
            Some(keys) => {
                // What is refused is not encrypted first.
                let bytes = |entry: &Entry<'_>| HEADER_BYTES + entry.body.len() + ADDED_BYTES;
                shared.check(entries.iter().map(bytes).sum(), entries)?;
                Some(Encrypted::new(keys, entries)?)
            }
            None => None,
        };
        let (written, flags) = match &encrypted {
            Some(encrypted) => (&encrypted.entries()[..], ENCRYPTED),
            None => (entries, 0),
        };
        self.append_as(written, flags).await
    }

    /// Appends the entries as they are, with these flags.
    async fn append_as(&self, entries: &[Entry<'_>], flags: u8) -> Result<u64, Error> {
        let shared = &*self.shared;
        let total = entries.iter().map(|e| HEADER_BYTES + e.body.len()).sum::<usize>();
        shared.check(total, entries)?;
        let (first_seq, written) = loop {
            // Made before looking, so that what happens between looking and waiting wakes us.
            let space = shared.space.notified();
            match shared.enqueue(total, entries, flags)? {
                Some(enqueued) => break enqueued,
                None => space.await,
            }
        };
        written.await.unwrap_or_else(|_| Err(Error::panicked()))?;
        Ok(first_seq)
    }

    /// A reader that begins with the first record numbered `seq` or later.
    #[must_use]
    pub fn reader(&self, seq: u64) -> Reader {
        Reader::new(self.shared.clone(), seq)
    }

    /// Reads one record again, by the number and offset it had; `None` if it is damaged by now.
    ///
    /// # Errors
    /// If the medium can't be read.
    pub fn read_one(&self, seq: u64, offset: u32, bytes: u32) -> Result<Option<Record>, Error> {
        let file = {
            let catalog = self.shared.catalog();
            catalog.segments.range(..=seq).next_back().map(|(_, segment)| segment.file.clone())
        };
        let Some(file) = file else { return Ok(None) };
        let mut raw = Vec::new();
        read_full_at(&*file, &mut raw, bytes as usize, u64::from(offset))
            .map_err(|e| Error::io(format!("read record {seq}"), &e))?;
        match record::decode(&raw) {
            Decoded::Record(header) if header.seq == seq => {
                let raw = bytes::Bytes::from(raw);
                let body = raw.slice(HEADER_BYTES..header.total());
                let keys = self.shared.options.keys.as_deref();
                let body = encryption::decrypt(keys, &header, body)?;
                Ok(body.map(|body| Record::new(&header, offset, body)))
            }
            _ => Ok(None),
        }
    }

    /// Writes how far the readers are, durably.
    ///
    /// # Errors
    /// If it can't be written; the last checkpoint then stands.
    pub fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let mut slots = self.shared.slots();
        slots.write(&*self.shared.fs, &self.shared.options.dir, checkpoint)
    }

    /// Closes the segment that is written to, so that [`Log::remove_below`] may remove it: the next
    /// append begins another one. The receiver ends, with a value or without, once that is done.
    pub fn roll(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.shared.queue();
        if !queue.closed {
            queue.rolls.push(sender);
            self.shared.filled.notify_one();
        }
        receiver
    }

    /// Removes the segments that hold only records numbered below `seq`, but for the one that is
    /// written to. To be called only with a floor that a checkpoint has made durable. Returns how
    /// many bytes were freed.
    ///
    /// # Errors
    /// If a file can't be removed; the next call tries again.
    pub fn remove_below(&self, seq: u64) -> Result<u64, Error> {
        let mut freed = 0;
        loop {
            let base = {
                let catalog = self.shared.catalog();
                match catalog.segments.first_key_value() {
                    Some((base, segment))
                        if segment.next_seq <= seq && catalog.writing != Some(*base) =>
                    {
                        *base
                    }
                    _ => return Ok(freed),
                }
            };
            let path = segment::path(&self.shared.options.dir, base);
            let removed = self.shared.fs.remove(&path);
            removed.map_err(|e| Error::io(format!("remove {}", path.display()), &e))?;
            if let Some(segment) = self.shared.catalog().segments.remove(&base) {
                self.shared.bytes.fetch_sub(segment.end, Ordering::AcqRel);
                freed += segment.end;
            }
        }
    }

    /// Looks again whether the file system has the room that must stay free. To be called at an
    /// interval, and after segments were removed.
    pub fn look_at_room(&self) {
        self.shared.has_room(0, 0);
    }

    /// Whether the file system had too little room when it was last looked at.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.shared.short.load(Ordering::Acquire)
    }

    /// How much there is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let catalog = self.shared.catalog();
        Usage {
            bytes: self.shared.bytes.load(Ordering::Acquire),
            segments: catalog.segments.len(),
            next_seq: catalog.next_seq,
            writing: catalog.writing,
        }
    }

    /// Tells when records became durable. Ask for it before looking, so as not to miss one.
    #[must_use]
    pub fn appended(&self) -> &Notify {
        &self.shared.appended
    }

    /// Why nothing more can be appended, if so.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.queue().failed.clone()
    }

    /// Refuses further appends and waits for those pending. May be called twice.
    pub fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_all();
        self.shared.appended.notify_waiters();
        let thread = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's commit thread panicked");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl Held {
    /// Recovers the log: cuts off a torn tail, quarantines damage, and opens what is left.
    ///
    /// `done` are numbers of records that others know to be done, wherever they lie. No number that is
    /// not above all of them is given to a new record.
    ///
    /// # Errors
    /// [`Error::Io`] when the medium can't be read.
    pub fn open(self, done: &[u64]) -> Result<(Log, Recovery), Error> {
        let Self { fs, options, lock } = self;
        let (mut slots, checkpoint) = Slots::open(&*fs, &options.dir)?;
        let (catalog, recovery, marked) = Recovery::run(&*fs, &options.dir, checkpoint, done)?;
        if marked {
            slots.write(&*fs, &options.dir, &recovery.checkpoint)?;
        }
        let dir = options.dir.display().to_string();
        let shared = Arc::new(Shared::new(fs, options, slots, catalog));
        let committer = Committer::new(shared.clone());
        let thread = std::thread::Builder::new()
            .name("journal-commit".into())
            .spawn(move || committer.run())
            .map_err(|e| Error::io(format!("start the commit thread of {dir}"), &e))?;
        Ok((Log { shared, committer: Mutex::new(Some(thread)), _lock: lock }, recovery))
    }
}
