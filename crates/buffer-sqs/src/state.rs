//! What a process knows of the messages it holds. No waiting, no I/O.
//!
//! A receipt names an event by a number of this process: SQS has no number that is both short enough
//! and the same for every receive, so each message gets the next one when it is first seen here.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use buffer::{Envelope, Error, Receipt};
use model::Event;
use model::clock::EpochMs;
use tokio::time::Instant;

/// Most messages that are remembered after they are gone: to number them as before when they come
/// again, and to delete them again when SQS delivers one that was deleted, as it may.
const REMEMBERED_MAX: usize = 100_000;
/// The longest that SQS hides a message after it was received.
const HIDDEN_MAX: Duration = Duration::from_secs(43_200);

/// A message under a receive of ours.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) message_id: String,
    pub(crate) handle: String,
    pub(crate) attempt: u32,
    pub(crate) accepted_at_ms: EpochMs,
    pub(crate) event: Event,
    /// Receives of ours that were no lease: SQS counts them all.
    idle: u32,
    epoch: u32,
    received: Instant,
    /// Until when SQS hides it, as far as we know.
    hidden_until: Instant,
    /// Until when it is leased; none while nobody was given it.
    until: Option<Instant>,
    /// When the keeper has to look at it.
    due: Instant,
}

/// A message that has just come.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) message_id: String,
    pub(crate) handle: String,
    /// How often SQS gave it out.
    pub(crate) receives: u32,
    pub(crate) accepted_at_ms: EpochMs,
    pub(crate) event: Event,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// In `held`.
    Held(u64),
    /// Given back, or lost; and how many of its receives were no lease.
    Gone(u64, u32),
    /// Deleted.
    Done,
}

/// What the keeper has to do.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Leases that go on: number, handle, and for how many seconds to hide.
    pub(crate) beat: Vec<(u64, String, u64)>,
    /// What nobody came for.
    pub(crate) back: Vec<(u64, String)>,
}

pub(crate) struct State {
    /// For how long SQS is told to hide what is received.
    visibility: Duration,
    lease: Duration,
    held: HashMap<u64, Held>,
    /// Received, and given to nobody yet.
    fetched: VecDeque<u64>,
    known: HashMap<String, Known>,
    remembered: VecDeque<String>,
    due: BTreeSet<(Instant, u64)>,
    /// Released with a delay, until when SQS hides it.
    later: HashMap<u64, Instant>,
    next_seq: u64,
    next_epoch: u32,
    next_term: u64,
    last_letter: u64,
    /// Receives under way.
    pub(crate) polls: usize,
    /// How many of them make sense at once: more while they come back full.
    pub(crate) width: usize,
    /// Why the last receive failed, if nobody was told yet.
    pub(crate) failed: Option<(Instant, Error)>,
}

impl State {
    /// `now_ms` is where numbers begin, so that they go on after a restart.
    pub(crate) fn new(visibility: Duration, lease: Duration, now_ms: EpochMs) -> Self {
        Self {
            visibility,
            lease,
            held: HashMap::new(),
            fetched: VecDeque::new(),
            known: HashMap::new(),
            remembered: VecDeque::new(),
            due: BTreeSet::new(),
            later: HashMap::new(),
            next_seq: now_ms.unsigned_abs() << 20,
            next_epoch: 1,
            next_term: 1,
            last_letter: 0,
            polls: 0,
            width: 1,
            failed: None,
        }
    }

    /// How many messages are held, whether or not somebody was given them.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes in what a receive brought, which SQS hides until `hidden_until`. Returns the handles of
    /// what had been deleted already.
    pub(crate) fn came(
        &mut self,
        came: Vec<Came>,
        now: Instant,
        hidden_until: Instant,
    ) -> Vec<String> {
        let mut again = Vec::new();
        for one in came {
            let (seq, idle) = match self.known.get(&one.message_id).copied() {
                Some(Known::Done) => {
                    again.push(one.handle);
                    continue;
                }
                Some(Known::Held(seq)) => {
                    if self.delivered_twice(seq, &one, now, hidden_until) {
                        continue;
                    }
                    (seq, self.take(seq).map_or(0, |held| held.idle))
                }
                Some(Known::Gone(seq, idle)) => (seq, idle),
                None => {
                    self.next_seq += 1;
                    (self.next_seq - 1, 0)
                }
            };
            self.known.insert(one.message_id.clone(), Known::Held(seq));
            self.later.remove(&seq);
            let due = self.half_before(hidden_until);
            let Came { message_id, handle, receives, accepted_at_ms, event } = one;
            let attempt = receives.saturating_sub(idle).max(1);
            let held = Held {
                message_id,
                handle,
                attempt,
                accepted_at_ms,
                event,
                idle,
                epoch: 0,
                received: now,
                hidden_until,
                until: None,
                due,
            };
            self.due.insert((due, seq));
            self.held.insert(seq, held);
            self.fetched.push_back(seq);
        }
        again
    }

    /// SQS delivers a message twice now and then, or hid it for less than we believed. Who has it here
    /// keeps it: only the latest handle counts.
    fn delivered_twice(
        &mut self,
        seq: u64,
        one: &Came,
        now: Instant,
        hidden_until: Instant,
    ) -> bool {
        let Some(held) = self.held.get_mut(&seq) else { return false };
        if held.until.is_some_and(|until| until <= now) {
            return false;
        }
        held.handle.clone_from(&one.handle);
        held.idle += 1;
        held.received = now;
        held.hidden_until = hidden_until;
        self.plan(seq);
        true
    }

    /// Gives out up to `max` of what was received.
    pub(crate) fn give(&mut self, max: usize, now: Instant) -> Vec<Envelope> {
        let mut given = Vec::with_capacity(max.min(self.fetched.len()));
        // Another process may have settled events of these keys since the last time.
        let (epoch, term) = (self.next_epoch, self.next_term);
        let mut late = Vec::new();
        while given.len() < max {
            let Some(seq) = self.fetched.pop_front() else { break };
            let lease = self.lease;
            let Some(held) = self.held.get_mut(&seq) else { continue };
            if held.hidden_until <= now {
                // SQS shows it to others again.
                late.push(seq);
                continue;
            }
            (held.epoch, held.until) = (epoch, Some(now + lease));
            given.push(Envelope {
                receipt: Receipt { seq, epoch },
                accepted_at_ms: held.accepted_at_ms,
                attempt: held.attempt,
                term,
                shard: None,
                event: held.event.clone(),
            });
            self.plan(seq);
        }
        late.into_iter().for_each(|seq| self.gone(seq, None));
        if !given.is_empty() {
            self.next_epoch = self.next_epoch.wrapping_add(2).max(1);
            self.next_term += 1;
        }
        given
    }

    /// Whether there is something to give.
    pub(crate) fn has_fetched(&self) -> bool {
        !self.fetched.is_empty()
    }

    /// What these receipts name, each once; stale ones are left out.
    pub(crate) fn find(&self, receipts: impl IntoIterator<Item = Receipt>) -> Vec<(u64, Held)> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for Receipt { seq, epoch } in receipts {
            let held = self.held.get(&seq).filter(|held| held.epoch == epoch && epoch != 0);
            if let Some(held) = held
                && seen.insert(seq)
            {
                found.push((seq, held.clone()));
            }
        }
        found
    }

    /// For how long a message may be hidden from now on, in seconds.
    pub(crate) fn hide_max(held: &Held, now: Instant) -> u64 {
        HIDDEN_MAX.saturating_sub(now.saturating_duration_since(held.received)).as_secs()
    }

    /// It was deleted.
    pub(crate) fn acked(&mut self, seq: u64) {
        if let Some(held) = self.take(seq) {
            self.remember(held.message_id, Known::Done);
        }
    }

    /// It is ours no longer, and hidden until `later` if it was released with a delay.
    pub(crate) fn gone(&mut self, seq: u64, later: Option<Instant>) {
        if let Some(held) = self.take(seq) {
            let idle = held.idle + u32::from(held.until.is_none());
            self.remember(held.message_id, Known::Gone(seq, idle));
            if let Some(until) = later {
                self.later.insert(seq, until);
            }
        }
    }

    /// The lease lasts until `until`. Tells the handle of one for which SQS has to be asked now: it is
    /// hidden no longer, or for much longer than that.
    pub(crate) fn extend(&mut self, seq: u64, until: Instant, now: Instant) -> Option<String> {
        let held = self.held.get_mut(&seq)?;
        let ends_early = held.hidden_until > until + Duration::from_secs(1);
        if held.hidden_until <= now || ends_early {
            return Some(held.handle.clone());
        }
        held.until = Some(until);
        self.plan(seq);
        None
    }

    /// SQS hides it until `hidden_until` from now on, and it is leased until `until` if that is told.
    pub(crate) fn hidden(&mut self, seq: u64, hidden_until: Instant, until: Option<Instant>) {
        if let Some(held) = self.held.get_mut(&seq) {
            held.hidden_until = hidden_until;
            held.until = until.or(held.until);
            self.plan(seq);
        }
    }

    /// Looks at it again then.
    pub(crate) fn again(&mut self, seq: u64, at: Instant) {
        if let Some(held) = self.held.get_mut(&seq) {
            self.due.remove(&(held.due, seq));
            held.due = at;
            self.due.insert((at, seq));
        }
    }

    /// When the keeper has to look next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What has to be done by now, or within an eighth of the visibility.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        let soon = now + self.visibility / 8;
        let mut due = Due::default();
        if self.due.first().is_none_or(|(at, _)| *at > now) {
            return due;
        }
        let looked: Vec<u64> = self.due.range(..=(soon, u64::MAX)).map(|(_, seq)| *seq).collect();
        for seq in looked {
            let Some(held) = self.held.get(&seq) else { continue };
            match held.until {
                None => due.back.push((seq, held.handle.clone())),
                // What goes on is hidden for another while.
                Some(until) if until > held.hidden_until => {
                    let seconds = self.visibility.as_secs().min(Self::hide_max(held, now));
                    if seconds == 0 {
                        tracing::warn!("a message was held for twelve hours: SQS shows it again");
                        self.gone(seq, None);
                    } else {
                        due.beat.push((seq, held.handle.clone(), seconds));
                    }
                }
                // Nobody came back with it; a late receipt is still good for a while.
                Some(_) if held.hidden_until + self.visibility <= now => self.gone(seq, None),
                Some(_) => {
                    let forgotten_at = held.hidden_until + self.visibility;
                    self.again(seq, forgotten_at);
                }
            }
        }
        due
    }

    /// Forgets all that was received and given to nobody, and tells the handles.
    pub(crate) fn take_fetched(&mut self) -> Vec<String> {
        let fetched: Vec<u64> = self.fetched.drain(..).collect();
        self.take_all(fetched)
    }

    /// Forgets all that is held and hidden, and tells the handles.
    pub(crate) fn take_held(&mut self, now: Instant) -> Vec<String> {
        let hidden = self.held.iter().filter(|(_, held)| held.hidden_until > now);
        let seqs: Vec<u64> = hidden.map(|(seq, _)| *seq).collect();
        self.take_all(seqs)
    }

    fn take_all(&mut self, seqs: Vec<u64>) -> Vec<String> {
        let mut handles = Vec::with_capacity(seqs.len());
        for seq in seqs {
            handles.extend(self.held.get(&seq).map(|held| held.handle.clone()));
            self.gone(seq, None);
        }
        handles
    }

    /// How many of those that SQS counts as in flight are nobody's: received and given to nobody,
    /// expired and not shown yet, or released for later.
    pub(crate) fn nobodys(&mut self, now: Instant) -> u64 {
        self.later.retain(|_, until| *until > now);
        let of_ours =
            |held: &&Held| held.hidden_until > now && held.until.is_none_or(|until| until <= now);
        (self.held.values().filter(of_ours).count() + self.later.len()) as u64
    }

    /// When the oldest was accepted, if all of `events` in the queue are held here: nobody tells how old
    /// the others are.
    pub(crate) fn oldest_accepted_ms(&self, events: u64) -> Option<EpochMs> {
        if (self.held.len() as u64) < events {
            return None;
        }
        self.held.values().map(|held| held.accepted_at_ms).min()
    }

    /// A number for a dead letter: the time, and what tells those of the same millisecond apart.
    pub(crate) fn letter(&mut self, now_ms: EpochMs) -> u64 {
        let fresh = (now_ms.unsigned_abs() << 22) | u64::from(rand::random::<u32>() >> 10);
        self.last_letter = fresh.max(self.last_letter + 1);
        self.last_letter
    }

    fn half_before(&self, hidden_until: Instant) -> Instant {
        hidden_until.checked_sub(self.visibility / 2).unwrap_or(hidden_until)
    }

    /// When it has to be looked at: at half time if its lease goes on past what SQS was told.
    fn plan(&mut self, seq: u64) {
        let Some(held) = self.held.get(&seq) else { return };
        let beats = held.until.is_none_or(|until| until > held.hidden_until);
        let at = if beats { self.half_before(held.hidden_until) } else { held.hidden_until };
        self.again(seq, at);
    }

    fn take(&mut self, seq: u64) -> Option<Held> {
        let held = self.held.remove(&seq)?;
        self.due.remove(&(held.due, seq));
        self.fetched.retain(|other| *other != seq);
        Some(held)
    }

    fn remember(&mut self, message_id: String, known: Known) {
        self.known.insert(message_id.clone(), known);
        self.remembered.push_back(message_id);
        if self.remembered.len() > REMEMBERED_MAX
            && let Some(oldest) = self.remembered.pop_front()
            && !matches!(self.known.get(&oldest), Some(Known::Held(_)))
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn state() -> State {
        State::new(10 * SECOND, 10 * SECOND, 1_700_000_000_000)
    }

    fn came(n: u32, handle: &str) -> Came {
        Came {
            message_id: format!("m-{n}"),
            handle: handle.to_owned(),
            receives: 1,
            accepted_at_ms: 1,
            event: Event::new(b"id", b"key", b"").unwrap(),
        }
    }

    #[tokio::test]
    async fn a_lease_that_goes_on_beats_at_half_time_and_one_that_does_not_never() {
        let (mut state, now) = (state(), Instant::now());
        state.came(vec![came(1, "a"), came(2, "b")], now, now + 10 * SECOND);
        let given = state.give(2, now);
        assert!(state.due(now + 6 * SECOND).beat.is_empty(), "nobody asked for more");
        let lasting = now + 13 * SECOND;
        assert_eq!(state.extend(given[0].receipt.seq, lasting, now + 3 * SECOND), None);
        assert_eq!(state.next_due(), Some(now + 5 * SECOND));
        assert!(state.due(now + 4 * SECOND).beat.is_empty());
        let due = state.due(now + 5 * SECOND);
        assert_eq!(due.beat, [(given[0].receipt.seq, "a".to_owned(), 10)]);
        state.hidden(given[0].receipt.seq, now + 15 * SECOND, None);
        assert_eq!(state.next_due(), Some(now + 10 * SECOND));
    }

    #[tokio::test]
    async fn a_message_that_comes_again_keeps_its_number_and_one_delivered_twice_its_lease() {
        let (mut state, now) = (state(), Instant::now());
        state.came(vec![came(1, "a")], now, now + 10 * SECOND);
        let first = state.give(1, now)[0].receipt;
        state.came(vec![came(1, "b")], now + SECOND, now + 11 * SECOND);
        assert!(state.give(1, now).is_empty(), "it is leased");
        assert_eq!(state.find([first])[0].1.handle, "b");
        let later = now + 12 * SECOND;
        state.came(vec![came(1, "c")], later, later + 10 * SECOND);
        let second = state.give(1, later)[0].receipt;
        assert_eq!(second.seq, first.seq);
        assert!(state.find([first]).is_empty() && state.find([second, second]).len() == 1);
        state.acked(second.seq);
        assert_eq!(state.came(vec![came(1, "d")], later, later + SECOND), ["d"]);
        assert!(state.give(1, later).is_empty());
    }

    #[tokio::test]
    async fn a_receive_that_was_no_lease_is_no_attempt() {
        let (mut state, now) = (state(), Instant::now());
        let again = |receives| Came { receives, ..came(1, "a") };
        state.came(vec![again(1)], now, now + 10 * SECOND);
        assert_eq!(state.take_fetched().len(), 1, "nobody came for it");
        state.came(vec![again(2)], now, now + 10 * SECOND);
        let first = state.give(1, now).remove(0);
        state.came(vec![again(3)], now, now + 10 * SECOND);
        state.gone(first.receipt.seq, None);
        state.came(vec![again(4)], now, now + 10 * SECOND);
        assert_eq!((first.attempt, state.give(1, now)[0].attempt), (1, 2));
    }

    #[tokio::test]
    async fn what_nobody_comes_for_is_given_back_at_half_time() {
        let (mut state, now) = (state(), Instant::now());
        state.came(vec![came(1, "a")], now, now + 10 * SECOND);
        let due = state.due(now + 5 * SECOND);
        assert_eq!(due.back.len(), 1);
        assert_eq!(state.nobodys(now), 1);
        assert_eq!(state.take_fetched(), ["a"]);
        assert_eq!((state.held(), state.next_due()), (0, None));
    }

    #[tokio::test]
    async fn what_is_remembered_has_a_bound() {
        let (mut state, now) = (state(), Instant::now());
        for n in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 10 {
            state.came(vec![came(n, "a")], now, now + 10 * SECOND);
            let seq = state.give(1, now)[0].receipt.seq;
            state.acked(seq);
        }
        assert_eq!(state.known.len(), REMEMBERED_MAX);
    }
}
