//! Events that wait alone: the store refused each of them by itself.
//!
//! Either the row is at fault, or the table refuses every row at the moment. One event can't tell
//! the two apart, so it waits and is tried again: it is buried only after it failed alone
//! [`Options::attempts_max`](crate::Options::attempts_max) times and the handler wrote another event
//! in between. Until then it blocks its own key and nothing else.

use std::collections::{HashSet, VecDeque};

use buffer::Envelope;
use tokio::time::Instant;

use crate::Options;
use crate::dispatcher::order_key;
use crate::given_back::GivenBack;

/// An event that the store refused alone.
pub(super) struct Suspect {
    pub(super) envelope: Envelope,
    /// How often it failed alone.
    pub(super) tries: u32,
    /// The first call to the handler that began after it had failed alone.
    since: u64,
    /// When it is tried again.
    next: Instant,
}

impl Suspect {
    pub(super) fn new(envelope: Envelope, since: u64) -> Self {
        Self { envelope, tries: 1, since, next: Instant::now() }
    }

    /// Whether the handler has written another event since this one first failed alone.
    pub(super) fn others_were_written(&self, last_written: u64) -> bool {
        last_written >= self.since
    }
}

/// The events of one lane that wait alone, one for a key, at most
/// [`Options::apart_max`](crate::Options::apart_max).
pub(super) struct Apart {
    max: usize,
    attempts_max: u32,
    /// The one that was tried last is at the back.
    waiting: VecDeque<Suspect>,
    keys: HashSet<Vec<u8>>,
    /// Keys of which the lane has to let go: a lease of an event of theirs was lost.
    lost: HashSet<Vec<u8>>,
    /// What is behind them in the buffer.
    pub(super) given_back: GivenBack,
    /// When the next event is tried while nothing shows that the table takes any row.
    pub(super) probe_at: Instant,
}

impl Apart {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            max: options.apart_max,
            attempts_max: options.attempts_max,
            waiting: VecDeque::new(),
            keys: HashSet::new(),
            lost: HashSet::new(),
            given_back: GivenBack::default(),
            probe_at: Instant::now(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.max
    }

    /// Whether it blocks no event, of whatever key.
    pub(super) fn blocks_nothing(&self) -> bool {
        self.waiting.is_empty() && self.given_back.is_empty()
    }

    /// Whether an earlier event of the same key waits, here or in the buffer.
    pub(super) fn blocks(&self, envelope: &Envelope) -> bool {
        self.waits(envelope) || self.given_back.precedes(envelope)
    }

    /// Whether nothing blocks `envelope`, which then is about to be tried: it leaves its key's line.
    pub(super) fn admit(&mut self, envelope: &Envelope) -> bool {
        !self.waits(envelope) && self.given_back.take(envelope)
    }

    fn waits(&self, envelope: &Envelope) -> bool {
        !self.keys.is_empty() && self.keys.contains(order_key(envelope)) || self.is_lost(envelope)
    }

    /// Blocks the key of `envelope` until [`Apart::forget_lost`].
    pub(super) fn lose(&mut self, envelope: &Envelope) {
        self.lost.insert(order_key(envelope).to_vec());
        self.given_back.lose(envelope);
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(super) fn is_lost(&self, envelope: &Envelope) -> bool {
        !self.lost.is_empty() && self.lost.contains(order_key(envelope))
    }

    /// Nothing of the lost keys is held any more. What was given back of them is still away, and keeps its place
    /// before what comes next.
    pub(super) fn forget_lost(&mut self) {
        self.lost.clear();
    }

    /// Gives up the lines of events that were given back and stayed away too long. The lane lets go
    /// of their keys, since what it holds of them may have been lost as well.
    pub(super) fn expire(&mut self, now: Instant) {
        let keys = &self.keys;
        self.lost.extend(self.given_back.expire(now, |key| keys.contains(key)));
    }

    /// Puts an event there, or back there, to wait until `next`.
    pub(super) fn put(&mut self, mut suspect: Suspect, next: Instant) {
        suspect.next = next;
        self.keys.insert(order_key(&suspect.envelope).to_vec());
        self.waiting.push_back(suspect);
    }

    /// Takes out the first event that is due. Its key stays blocked until [`Apart::free`].
    pub(super) fn take_due(&mut self, now: Instant, last_written: u64) -> Option<Suspect> {
        let due = |suspect: &Suspect| self.due(suspect, now, last_written) <= now;
        let at = self.waiting.iter().position(due)?;
        self.waiting.remove(at)
    }

    /// The key of `envelope` waits no longer.
    pub(super) fn free(&mut self, envelope: &Envelope) {
        self.keys.remove(order_key(envelope));
    }

    /// Whether each event that waits has had all its tries: only another that is written helps then.
    pub(super) fn needs_others(&self, last_written: u64) -> bool {
        let stuck = |suspect: &Suspect| {
            suspect.tries >= self.attempts_max && !suspect.others_were_written(last_written)
        };
        self.waiting.iter().all(stuck)
    }

    /// When the next event is due; `None` where none waits.
    pub(super) fn next_due(&self, now: Instant, last_written: u64) -> Option<Instant> {
        self.waiting.iter().map(|suspect| self.due(suspect, now, last_written)).min()
    }

    /// Moves the events of `part` that an earlier one blocks to the end of `behind`. What is in a
    /// part was let pass before: only what waits here since then can block it.
    pub(super) fn hold_back(&self, part: &mut Vec<Envelope>, behind: &mut Vec<Envelope>) {
        if self.is_full() {
            behind.append(part);
        } else if part.iter().any(|envelope| self.waits(envelope)) {
            let (blocked, free) = part.drain(..).partition(|envelope| self.waits(envelope));
            *part = free;
            behind.extend::<Vec<_>>(blocked);
        }
    }

    /// An event that has had all its tries waits until something shows that the table takes rows.
    /// All of them share one pace, so that a table which refuses every row is not flooded.
    fn due(&self, suspect: &Suspect, now: Instant, last_written: u64) -> Instant {
        if suspect.tries < self.attempts_max {
            suspect.next
        } else if suspect.others_were_written(last_written) {
            now
        } else {
            self.probe_at
        }
    }
}
