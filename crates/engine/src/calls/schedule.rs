//! Which step of which event may begin: a state machine without a clock and without I/O.
//!
//! ```text
//!              first of its key                       a slot is free
//!  Behind ───────────────────► Admit ──► Admitting ──► Call ──► Calling ──► Record ──► Recording ──► gone
//!                                ▲            │          ▲         │          ▲            │
//!                                └─── Later ◄─┴──────────┴─────────┘          └─── Later ◄─┘
//! ```
//!
//! Only the first event of a key is in another state than `Behind`; the next one follows when it is gone. So one key's
//! events stay in order, and keys finish out of order. An event that waits for later keeps its key, and no slot.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use buffer::{Envelope, Receipt};
use tokio::time::Instant;

use crate::dispatcher::order_key;

/// Names an event of a schedule.
pub(super) type Id = u64;

/// What may be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Admit,
    Call,
    Record,
    /// It is being buried.
    Bury,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Behind,
    /// It waits for its turn.
    Due(Step),
    Later(Step, Instant),
    UnderWay(Step),
}

struct Entry<A> {
    envelope: Arc<Envelope>,
    state: State,
    answer: Option<Arc<A>>,
    /// Attempts that were made at the present step.
    attempts: u32,
    /// When it was added.
    added: Instant,
    /// When it was surely leased.
    leased: Instant,
}

/// See the module.
pub(super) struct Schedule<A> {
    next: Id,
    events: HashMap<Id, Entry<A>>,
    by_receipt: HashMap<Receipt, Id>,
    keys: HashMap<Vec<u8>, VecDeque<Id>>,
    /// Those that wait for their turn, without calls that had an attempt.
    due: [VecDeque<Id>; 4],
    /// Calls that are due and had an attempt, in the order in which they became due.
    retries: VecDeque<Id>,
    later: BTreeSet<(Instant, Id)>,
    under_way: [usize; 4],
    retries_under_way: usize,
    /// Whether the call that began last was a retry.
    retried_last: bool,
}

impl<A> Schedule<A> {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            events: HashMap::new(),
            by_receipt: HashMap::new(),
            keys: HashMap::new(),
            due: Default::default(),
            retries: VecDeque::new(),
            later: BTreeSet::new(),
            under_way: [0; 4],
            retries_under_way: 0,
            retried_last: false,
        }
    }

    /// These were leased, in this order.
    pub(super) fn add(&mut self, envelopes: Vec<Envelope>, now: Instant) {
        for envelope in envelopes {
            let id = self.next;
            self.next += 1;
            let key = self.keys.entry(order_key(&envelope).to_vec()).or_default();
            key.push_back(id);
            let is_first = key.len() == 1;
            self.by_receipt.insert(envelope.receipt, id);
            let envelope = Arc::new(envelope);
            let state = State::Behind;
            let entry =
                Entry { envelope, state, answer: None, attempts: 0, added: now, leased: now };
            self.events.insert(id, entry);
            if is_first {
                self.make_due(id, Step::Admit);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many events take this step now.
    pub(super) fn under_way(&self, step: Step) -> usize {
        self.under_way[step as usize]
    }

    /// How many events wait for later.
    pub(super) fn waits(&self) -> usize {
        self.later.len()
    }

    /// How many events wait for their turn at this step, without retries.
    pub(super) fn due(&self, step: Step) -> usize {
        self.due[step as usize].len()
    }

    /// Begins a step of many events together with up to `max` of them, those that wait longest first.
    pub(super) fn begin(&mut self, step: Step, max: usize) -> Vec<Id> {
        let due = &mut self.due[step as usize];
        let begun: Vec<Id> = due.drain(..max.min(due.len())).collect();
        for id in &begun {
            self.entry(*id).state = State::UnderWay(step);
        }
        self.under_way[step as usize] += begun.len();
        begun
    }

    /// The call that begins next, and how many attempts it had. Retries and first attempts take turns, and retries
    /// have half of `most` calls: events that never get an answer leave the other half to all others. Where only one
    /// kind is due, it has all. A probe is a first attempt, if one is due: an event that never gets an answer would
    /// keep the breaker open.
    pub(super) fn next_call(&self, is_probe: bool, most: usize) -> Option<(Id, u32)> {
        let first = self.due[Step::Call as usize].front().copied();
        let retry = self.retries.front().copied();
        let has_its_share = self.retries_under_way >= (most / 2).max(1);
        let id = match first {
            Some(first) if is_probe || self.retried_last || has_its_share => first,
            first => retry.or(first)?,
        };
        Some((id, self.events[&id].attempts))
    }

    /// Begins the call of this event, which waits for its turn.
    pub(super) fn begin_call(&mut self, id: Id) {
        self.no_longer_due(Step::Call, id);
        self.entry(id).state = State::UnderWay(Step::Call);
        self.under_way[Step::Call as usize] += 1;
        self.retried_last = self.entry(id).attempts > 0;
        self.retries_under_way += usize::from(self.retried_last);
    }

    /// The step under way is done, and the event takes the next one.
    pub(super) fn follow(&mut self, id: Id, step: Step) {
        self.end_step(id);
        self.entry(id).attempts = 0;
        self.make_due(id, step);
    }

    /// The event waits until then, which is no attempt: it was due, or its step under way was not taken.
    pub(super) fn postpone(&mut self, id: Id, until: Instant) {
        let step = match self.entry(id).state {
            State::Due(step) => {
                self.no_longer_due(step, id);
                step
            }
            State::UnderWay(_) => self.end_step(id),
            State::Behind | State::Later(..) => return,
        };
        self.entry(id).state = State::Later(step, until);
        self.later.insert((until, id));
    }

    /// The event is buried now, and keeps its key until then.
    pub(super) fn bury(&mut self, id: Id) {
        self.end_step(id);
        self.entry(id).state = State::UnderWay(Step::Bury);
        self.under_way[Step::Bury as usize] += 1;
    }

    /// The step under way was not done. It is taken again, before those that wait for their first turn.
    pub(super) fn again(&mut self, id: Id) {
        let step = self.end_step(id);
        self.entry(id).state = State::Due(step);
        self.queue(id, step).push_front(id);
    }

    /// The event waits, and then takes this step. It keeps its key, and no slot.
    pub(super) fn later(&mut self, id: Id, step: Step, until: Instant) {
        let ended = self.end_step(id);
        let entry = self.entry(id);
        entry.attempts = if ended == step { entry.attempts.saturating_add(1) } else { 0 };
        entry.state = State::Later(step, until);
        self.later.insert((until, id));
    }

    /// Gives their turn to those that have waited until `now`.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((until, id)) = self.later.first().copied().filter(|(until, _)| *until <= now)
        {
            self.later.remove(&(until, id));
            if let State::Later(step, _) = self.entry(id).state {
                self.make_due(id, step);
            }
        }
    }

    /// When the first of those that wait has its turn again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.later.first().map(|(until, _)| *until)
    }

    /// The event is gone for good: the next one of its key follows.
    pub(super) fn remove(&mut self, id: Id) -> Arc<Envelope> {
        let envelope = self.take(id);
        let key = order_key(&envelope);
        if let Some(ids) = self.keys.get_mut(key) {
            ids.pop_front();
            match ids.front().copied() {
                Some(next) => self.make_due(next, Step::Admit),
                None => drop(self.keys.remove(key)),
            }
        }
        envelope
    }

    /// All events of the key of this one, in order: none of them is held any more. A step that is under way ends
    /// without effect here.
    pub(super) fn remove_key(&mut self, id: Id) -> Vec<Arc<Envelope>> {
        let Some(entry) = self.events.get(&id) else { return Vec::new() };
        let ids = self.keys.remove(order_key(&entry.envelope)).unwrap_or_default();
        ids.into_iter().map(|id| self.take(id)).collect()
    }

    /// The event that has this receipt.
    pub(super) fn find(&self, receipt: &Receipt) -> Option<Id> {
        self.by_receipt.get(receipt).copied()
    }

    /// Whether an event of this key is held.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    pub(super) fn holds(&self, id: Id) -> bool {
        self.events.contains_key(&id)
    }

    pub(super) fn envelope(&self, id: Id) -> Arc<Envelope> {
        Arc::clone(&self.events[&id].envelope)
    }

    /// When it was added.
    pub(super) fn added(&self, id: Id) -> Instant {
        self.events[&id].added
    }

    /// Attempts at its present step that were made before.
    pub(super) fn attempts(&self, id: Id) -> u32 {
        self.events[&id].attempts
    }

    /// Whether the lease of this event was not seen for so long that another worker may have it.
    pub(super) fn is_doubtful(&self, id: Id, after: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.events[&id].leased) >= after
    }

    /// The lease of this event was seen at that moment.
    pub(super) fn seen(&mut self, id: Id, at: Instant) {
        self.entry(id).leased = at;
    }

    /// The first event of each key of which nothing is under way and nothing is to be recorded.
    pub(super) fn not_begun(&self) -> Vec<Id> {
        let firsts = self.keys.values().filter_map(VecDeque::front);
        let is_not_begun = |id: &&Id| {
            use Step::{Admit, Call};
            let state = self.events[*id].state;
            matches!(state, State::Due(Admit | Call) | State::Later(Admit | Call, _))
        };
        let mut ids: Vec<Id> = firsts.filter(is_not_begun).copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn set_answer(&mut self, id: Id, answer: A) {
        self.entry(id).answer = Some(Arc::new(answer));
    }

    pub(super) fn answer(&self, id: Id) -> Option<Arc<A>> {
        self.events[&id].answer.clone()
    }

    /// All events that take this step now, with every event behind them.
    pub(super) fn keys_under_way(&self, step: Step) -> Vec<Id> {
        let is_under_way = |entry: &Entry<A>| entry.state == State::UnderWay(step);
        let ids = self.events.iter().filter(|(_, entry)| is_under_way(entry));
        ids.map(|(id, _)| *id).collect()
    }

    fn entry(&mut self, id: Id) -> &mut Entry<A> {
        self.events.get_mut(&id).expect("an id is used until its event is removed")
    }

    fn make_due(&mut self, id: Id, step: Step) {
        self.entry(id).state = State::Due(step);
        self.queue(id, step).push_back(id);
    }

    fn queue(&mut self, id: Id, step: Step) -> &mut VecDeque<Id> {
        let is_retry = step == Step::Call && self.events[&id].attempts > 0;
        if is_retry { &mut self.retries } else { &mut self.due[step as usize] }
    }

    /// Most often it is the first one.
    fn no_longer_due(&mut self, step: Step, id: Id) {
        let due = self.queue(id, step);
        match due.front() {
            Some(first) if *first == id => drop(due.pop_front()),
            _ => due.retain(|due| *due != id),
        }
    }

    /// Ends the step under way, and returns which it was.
    fn end_step(&mut self, id: Id) -> Step {
        let State::UnderWay(step) = self.entry(id).state else {
            unreachable!("only a step that is under way ends")
        };
        self.under_way[step as usize] -= 1;
        if step == Step::Call && self.entry(id).attempts > 0 {
            self.retries_under_way -= 1;
        }
        step
    }

    fn take(&mut self, id: Id) -> Arc<Envelope> {
        match self.entry(id).state {
            State::Behind => {}
            State::Due(step) => self.no_longer_due(step, id),
            State::Later(_, until) => drop(self.later.remove(&(until, id))),
            State::UnderWay(_) => drop(self.end_step(id)),
        }
        let entry = self.events.remove(&id).expect("an id is used until its event is removed");
        self.by_receipt.remove(&entry.envelope.receipt);
        entry.envelope
    }
}

#[cfg(test)]
mod tests;
