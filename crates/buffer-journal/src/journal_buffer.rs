//! The buffer itself.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use journal::checkpoint::RANGES_MAX;
use journal::fs::Fs;
use journal::fs::disk::Disk;
use journal::{Entry, Log, Reader, Record, Sync, encryption};
use model::Event;
use model::clock::Clock;
use tokio::sync::Notify;

use crate::dead::{Burial, Dead};
use crate::erased::refuse_erased;
use crate::event::{entry, envelope, event_of};
use crate::failure::{RETRY_AFTER, error_of, open};
use crate::keeper::{Keeper, Kept, Waker};
use crate::window::{Place, Window};
use crate::{Options, Recovery, replay};

/// How often a waiting lease looks at the clock while something is leased or delayed: the clock is
/// passed in and may be stepped by hand, so no timer can know when it will be due.
const POLL: Duration = Duration::from_millis(20);
/// No segment is closed for its age while so many are there: each is an open file.
const SEGMENTS_AGED_MAX: usize = 16;
/// Room made at once for the events of a lease.
const LEASE_RESERVED: usize = 4096;

/// The journal as a buffer. Dropping it closes it.
pub struct JournalBuffer {
    pub(crate) inner: Arc<Inner>,
    keeper: Keeper,
}

/// What the buffer and its keeper share.
pub(crate) struct Inner {
    pub(crate) log: Log,
    pub(crate) dead: Dead,
    options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Told when something becomes ready other than by an append, or a deadline is set, or on closing.
    changed: Notify,
    closed: AtomicBool,
    /// Something is done that no checkpoint has seen.
    dirty: AtomicBool,
    /// Of the thread that writes checkpoints.
    waker: Arc<Waker>,
    /// The end of the log, as the last checkpoint has it.
    promised: AtomicU64,
    /// Events being appended.
    offering: AtomicU64,
}

/// What the keeper does.
struct Keeping {
    inner: Arc<Inner>,
    /// The segment that is written to, and since when it has been seen.
    written: Option<(u64, Instant)>,
}

impl Kept for Keeping {
    fn is_idle(&self) -> bool {
        let Inner { log, dirty, promised, .. } = &*self.inner;
        let usage = log.usage();
        let promised = promised.load(Ordering::Acquire) == usage.next_seq;
        promised && usage.writing.is_none() && !log.is_short() && !dirty.load(Ordering::SeqCst)
    }

    fn step(&mut self) -> Result<(), Error> {
        self.inner.roll_aged(&mut self.written);
        self.inner.checkpoint(false)
    }
}

struct State {
    window: Window,
    reader: Reader,
    /// Undone events that were there on opening and have not been read yet.
    recovered: u64,
    /// One past the last number there was on opening.
    opened_at: u64,
    /// Ranges the last run marked done, from the one the reader is in onwards.
    done: VecDeque<(u64, u64)>,
}

impl JournalBuffer {
    /// Opens the journal in `options.dir` and recovers it.
    ///
    /// # Errors
    /// [`Error::Held`] when another process has it, [`Error::Open`] when the directory can't be used.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), Error> {
        Self::open_on(Arc::new(Disk), options, clock)
    }

    /// Opens it on another medium than the machine's disk.
    ///
    /// # Errors
    /// As [`JournalBuffer::open`].
    pub fn open_on(
        fs: Arc<dyn Fs>,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), Error> {
        Self::open_where(fs, options, clock, refuse_erased)
    }

    /// Opens it where `allowed`, which is asked once the lock is held.
    pub(crate) fn open_where(
        fs: Arc<dyn Fs>,
        options: Options,
        clock: Arc<dyn Clock>,
        allowed: fn(&dyn Fs, &Path) -> Result<(), Error>,
    ) -> Result<(Self, Recovery), Error> {
        // The letters first: they say which events are done, and which numbers were given.
        let keys = options.key.read()?;
        let letters = options.dead_log(keys.clone());
        // Before the journal is taken: a wrong key changes nothing.
        encryption::check(&*fs, &letters).map_err(|e| open(&e))?;
        let held = Log::hold(fs.clone(), options.events_log(keys)).map_err(|e| open(&e))?;
        allowed(&*fs, &options.dir)?;
        let (dead, found) = Dead::open(fs, letters, options.dead_max).map_err(|e| open(&e))?;
        let (log, recovery) = held.open(&found.buried).map_err(|e| open(&e))?;
        replay::finish(&log, &dead, &found.begun, clock.now_ms())?;
        let floor = recovery.checkpoint.floor.max(1);
        let state = State {
            window: Window::new(floor),
            reader: log.reader(floor),
            recovered: recovery.records,
            opened_at: log.usage().next_seq,
            done: recovery.checkpoint.done.iter().copied().collect(),
        };
        let inner = Arc::new(Inner {
            log,
            dead,
            options,
            clock,
            state: Mutex::new(state),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            waker: Arc::default(),
            promised: AtomicU64::new(recovery.checkpoint.next_seq),
            offering: AtomicU64::new(0),
        });
        let keeping = Keeping { inner: inner.clone(), written: None };
        let keeper = Keeper::start(inner.options.checkpoint_ms, inner.waker.clone(), keeping);
        Ok((Self { inner, keeper }, Recovery { events: recovery, letters: found.recovery }))
    }

    /// Makes progress durable now and removes the segments that are done.
    ///
    /// # Errors
    /// If it can't be written; what was acked since the last one comes again after a crash.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.inner.checkpoint(false)
    }

    /// As [`JournalBuffer::checkpoint`], for the segment that is written to as well: of what is done,
    /// as far as nothing before it is left, no byte stays in a segment. The buffer does this by itself in
    /// time and at the end; it is for tests that cannot wait.
    ///
    /// # Errors
    /// As [`JournalBuffer::checkpoint`].
    pub async fn remove_settled(&self) -> Result<(), Error> {
        // Closed already is as good.
        let _ = self.inner.log.roll().await;
        self.inner.soil();
        self.inner.checkpoint(false)
    }

    /// Ends the threads and writes the last checkpoint: also without an ack, so that the next opening
    /// knows how far the log had come.
    fn shut(&self) -> Result<(), Error> {
        self.keeper.stop();
        self.inner.log.close();
        self.inner.soil();
        self.inner.checkpoint(self.inner.log.failure().is_none())
    }

    /// Bytes on disk, not counting dead letters.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.log.usage().bytes
    }
}

impl Drop for JournalBuffer {
    fn drop(&mut self) {
        let shut = self.shut();
        if let Err(e) = shut.and(self.inner.dead.close()) {
            tracing::warn!(error = %e, "progress was not made durable; some events will come again");
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is done that no checkpoint has seen.
    fn soil(&self) {
        self.dirty.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Makes progress durable. `closed` says that the log was closed, so that its end is exact.
    pub(crate) fn checkpoint(&self, closed: bool) -> Result<(), Error> {
        let kept = self.make_durable(closed);
        // Others on the file system may have taken or given back room, too.
        self.log.look_at_room();
        kept
    }

    fn make_durable(&self, closed: bool) -> Result<(), Error> {
        // Also when only offers came: that they are there is worth remembering, so that losing the
        // end of the log is noticed.
        let next_seq = self.log.usage().next_seq;
        let moved = self.promised.swap(next_seq, Ordering::AcqRel) != next_seq;
        if !self.dirty.swap(false, Ordering::AcqRel) && !moved {
            return Ok(());
        }
        let checkpoint = {
            let state = self.state();
            let mut checkpoint = state.window.checkpoint(self.log.usage().next_seq);
            // What the last run finished ahead of where this one has read to stays finished.
            let room = RANGES_MAX.saturating_sub(checkpoint.done.len());
            let read = state.window.end();
            let ahead = state.done.iter().map(|(from, to)| ((*from).max(read), *to));
            checkpoint.done.extend(ahead.filter(|(from, to)| from < to).take(room));
            checkpoint.closed = closed;
            checkpoint
        };
        let kept = self.dead.promise().and_then(|()| {
            let written = self.log.write_checkpoint(&checkpoint);
            let removed = written.and_then(|()| self.log.remove_below(checkpoint.floor));
            removed.map(|_| ()).map_err(|e| error_of(&e))
        });
        if kept.is_err() {
            self.soil();
        }
        kept
    }

    /// Gives back the space of letters that were dropped.
    pub(crate) async fn trim_dead(&self) -> Result<(), Error> {
        self.soil();
        self.checkpoint(false)?;
        self.dead.trim().await
    }

    /// Closes the segment that has been written to for long enough, so that it can be removed as soon
    /// as what it holds is done. Only from a thread outside of tokio.
    fn roll_aged(&self, written: &mut Option<(u64, Instant)>) {
        let usage = self.log.usage();
        let base = usage.writing;
        if written.map(|(seen, _)| seen) != base {
            *written = base.map(|base| (base, Instant::now()));
        }
        let age = written.map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let few = usage.segments < SEGMENTS_AGED_MAX;
        if few && age >= Duration::from_millis(self.options.segment_ms_max) {
            // Closed already is as good.
            let _ = self.log.roll().blocking_recv();
            self.soil();
        }
    }

    fn undone(&self, state: &State) -> u64 {
        let appended = self.log.usage().next_seq.saturating_sub(state.opened_at);
        let read = state.reader.seq().saturating_sub(state.opened_at);
        // Damage met since opening may hide events that were counted then: past them, none are left.
        let recovered = if read > 0 { 0 } else { state.recovered };
        let ahead = recovered + appended.saturating_sub(read);
        state.window.undone() + ahead
    }

    fn admit(&self, events: u64) -> Result<(), Error> {
        let max = self.options.events_max;
        if events > max {
            let as_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            return Err(Error::TooMany { got: as_usize(events), max: as_usize(max) });
        }
        let offering = self.offering.fetch_add(events, Ordering::AcqRel) + events;
        let held = self.undone(&self.state());
        if held + offering > max {
            self.offering.fetch_sub(events, Ordering::AcqRel);
            return Err(Error::Full {
                bound: format!("events_max = {max} events"),
                retry_after: RETRY_AFTER,
            });
        }
        Ok(())
    }

    /// What can be leased now, or else how long to sleep before looking again.
    fn try_lease(&self, max: usize) -> Result<Result<Vec<Envelope>, Duration>, Error> {
        let mut state = self.state();
        let now_ms = self.clock.uptime_ms();
        let due_ms = now_ms.saturating_add(self.options.lease_ms);
        let state = &mut *state;
        state.window.promote(now_ms);
        if max == 0 || self.closed.load(Ordering::Acquire) {
            return Ok(Ok(Vec::new()));
        }
        let mut leased = self.lease_again(state, max, due_ms);
        let room = self.options.window_max.saturating_sub(state.window.len());
        let fresh = (max - leased.len()).min(room);
        if fresh > 0 {
            state.lease_fresh(fresh, due_ms, &mut leased).map_err(|e| error_of(&e))?;
        }
        if !leased.is_empty() {
            return Ok(Ok(leased));
        }
        let pause = state.window.next_due_ms().map_or(Duration::MAX, |due_ms| {
            let left_ms = u64::try_from(due_ms - now_ms).unwrap_or(0).max(1);
            Duration::from_millis(left_ms).min(POLL)
        });
        Ok(Err(pause))
    }

    /// Leases what is ready again, reading each from the disk: they are few.
    fn lease_again(&self, state: &mut State, max: usize, due_ms: i64) -> Vec<Envelope> {
        let mut leased = Vec::new();
        for (receipt, place) in state.window.lease_ready(max, due_ms) {
            let read = self.log.read_one(place.seq, place.offset, place.bytes);
            match read.map(|record| record.and_then(|record| envelope(receipt, record))) {
                Ok(Some(envelope)) => leased.push(envelope),
                Ok(None) => self.unreadable(state, receipt),
                Err(e) => {
                    let seq = place.seq;
                    tracing::error!(seq, error = %e, "an event can't be read again; it is kept");
                    state.window.release(&[receipt], due_ms);
                }
            }
        }
        leased
    }

    fn unreadable(&self, state: &mut State, receipt: Receipt) {
        tracing::error!(seq = receipt.seq, "an event was damaged on the disk and is lost");
        state.window.finish(std::iter::once(receipt));
        self.soil();
    }

    /// The events named by these burials, with what is known of them.
    fn exhume(&self, burials: &[(Receipt, String)]) -> Result<Vec<(Receipt, Burial)>, Error> {
        let places = self.state().window.places(burials.iter().map(|(receipt, _)| *receipt));
        let mut found = Vec::new();
        for ((receipt, reason), place) in burials.iter().zip(places) {
            let Some(Place { seq, offset, bytes, accepted_at_ms }) = place else { continue };
            let record = self.log.read_one(seq, offset, bytes).map_err(|e| error_of(&e))?;
            let Some(event) = record.and_then(event_of) else {
                self.unreadable(&mut self.state(), *receipt);
                continue;
            };
            let (source, reason, attempts) = (seq, reason.clone(), receipt.epoch);
            found.push((*receipt, Burial { source, reason, accepted_at_ms, attempts, event }));
        }
        Ok(found)
    }
}

impl State {
    /// Leases up to `max` events that were not leased before. An error is told only when there is
    /// nothing to hand out: what was leased before it must reach the caller.
    fn lease_fresh(
        &mut self,
        max: usize,
        due_ms: i64,
        leased: &mut Vec<Envelope>,
    ) -> Result<(), journal::Error> {
        let before = leased.len();
        leased.reserve(max.min(LEASE_RESERVED));
        let read = loop {
            if leased.len() - before == max {
                break Ok(());
            }
            match self.reader.take() {
                Ok(Some(record)) => self.lease_record(record, due_ms, leased),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match (leased.get(before), leased.last()) {
            (Some(first), Some(last)) => {
                self.window.watch(due_ms, first.receipt.seq, last.receipt.seq);
                Ok(())
            }
            _ => read,
        }
    }

    fn lease_record(&mut self, record: Record, due_ms: i64, leased: &mut Vec<Envelope>) {
        self.window.pass_over(record.seq);
        if self.is_done(record.seq) {
            self.window.pass_over(record.seq + 1);
            return;
        }
        let seq = record.seq;
        if seq < self.opened_at {
            self.recovered = self.recovered.saturating_sub(1);
        }
        let Record { offset, bytes, at_ms: accepted_at_ms, .. } = record;
        let place = Place { seq, offset, bytes, accepted_at_ms };
        match event_of(record) {
            Some(event) => {
                let receipt = self.window.lease_fresh(&place, due_ms);
                let accepted_at_ms = place.accepted_at_ms;
                leased.push(Envelope {
                    receipt,
                    accepted_at_ms,
                    attempt: 1,
                    term: 0,
                    shard: None,
                    event,
                });
            }
            None => {
                tracing::error!(seq, "a record holds no event; it is passed over");
                self.window.pass_over(seq + 1);
            }
        }
    }

    /// Whether the checkpoint of the last run marked it done. Asked in ascending order.
    fn is_done(&mut self, seq: u64) -> bool {
        while self.done.front().is_some_and(|(_, end)| *end <= seq) {
            self.done.pop_front();
        }
        self.done.front().is_some_and(|(start, _)| *start <= seq)
    }
}

#[async_trait]
impl Buffer for JournalBuffer {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        let inner = &*self.inner;
        if inner.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if events.is_empty() {
            return Ok(());
        }
        if inner.waker.is_asleep() {
            // Nothing has looked since it fell asleep, and others may have taken the room.
            inner.log.look_at_room();
        }
        inner.admit(events.len() as u64)?;
        let _offering = Offering(inner, events.len() as u64);
        let at_ms = inner.clock.now_ms();
        let entries: Vec<Entry<'_>> = events.iter().map(|event| entry(event, at_ms)).collect();
        let appended = inner.log.append(&entries).await;
        if let Err(journal::Error::Full(_)) = appended {
            // The offer may have closed the last segment: the next checkpoint removes it if it is done.
            inner.soil();
        }
        appended.map(|_| ()).map_err(|e| error_of(&e))
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        let started = Instant::now();
        loop {
            // Made before looking, so that what happens between looking and sleeping wakes us.
            let appended = self.inner.log.appended().notified();
            let changed = self.inner.changed.notified();
            let pause = match self.inner.try_lease(max)? {
                Ok(leased) => return Ok(leased),
                Err(pause) => pause,
            };
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            let woken = async {
                tokio::select! {
                    () = appended => {}
                    () = changed => {}
                }
            };
            // Either way we look again: a wake-up and a passed deadline ask for the same thing.
            let _ = tokio::time::timeout(pause.min(left), woken).await;
        }
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        let acked = self.inner.state().window.finish(receipts.iter().copied());
        self.inner.soil();
        Ok(acked)
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        let due_ms = after(self.inner.clock.uptime_ms(), delay);
        let released = self.inner.state().window.release(receipts, due_ms);
        self.inner.changed.notify_waiters();
        Ok(released)
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        let (receipts, burials): (Vec<_>, Vec<_>) = self.inner.exhume(burials)?.into_iter().unzip();
        // The leases must not run out while the letters are synced: whoever leased the events then
        // would settle what is dead.
        let due_ms = self.inner.clock.uptime_ms().saturating_add(self.inner.options.lease_ms);
        self.inner.state().window.extend(&receipts, due_ms);
        if burials.is_empty() {
            return Ok(0);
        }
        self.inner.dead.bury(&burials, self.inner.clock.now_ms()).await?;
        let buried = self.inner.state().window.finish(receipts.into_iter());
        self.inner.soil();
        Ok(buried)
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        let due_ms = after(self.inner.clock.uptime_ms(), by);
        let extended = self.inner.state().window.extend(receipts, due_ms);
        self.inner.changed.notify_waiters();
        Ok(extended)
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let mut state = self.inner.state();
        let state = &mut *state;
        state.window.promote(self.inner.clock.uptime_ms());
        let undone = self.inner.undone(state);
        let leased = state.window.leased();
        let oldest_accepted_ms = match state.window.oldest_accepted_ms() {
            None if undone > 0 => {
                state.reader.front().map_err(|e| error_of(&e))?.map(|header| header.at_ms)
            }
            oldest => oldest,
        };
        let dead = self.inner.dead.len() as u64;
        Ok(Depth { ready: undone - leased, leased, dead, oldest_accepted_ms })
    }

    fn kind(&self) -> Kind {
        Kind {
            name: "journal",
            survives: match self.inner.options.sync {
                Sync::Always => "kill -9 and power loss",
                Sync::Os => "kill -9, but NOT power loss or a crash of the operating system",
            },
            durable: true,
            shared: false,
            counts_leases: false,
        }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }

    async fn close(&self) -> Result<(), Error> {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.changed.notify_waiters();
        self.shut()
    }
}

/// Counts events as being offered until they are in the log or refused, also when the caller goes. The keeper is
/// awake then.
struct Offering<'a>(&'a Inner, u64);

impl Drop for Offering<'_> {
    fn drop(&mut self) {
        self.0.offering.fetch_sub(self.1, Ordering::AcqRel);
        self.0.waker.wake();
    }
}

fn after(now_ms: i64, delay: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
}
