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
    due: [VecDeque<Id>; 4],
    later: BTreeSet<(Instant, Id)>,
    under_way: [usize; 4],
}

impl<A> Schedule<A> {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            events: HashMap::new(),
            by_receipt: HashMap::new(),
            keys: HashMap::new(),
            due: Default::default(),
            later: BTreeSet::new(),
            under_way: [0; 4],
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

    /// How many events wait for their turn at this step.
    pub(super) fn due(&self, step: Step) -> usize {
        self.due[step as usize].len()
    }

    /// Begins this step with up to `max` events, those that wait longest first.
    pub(super) fn begin(&mut self, step: Step, max: usize) -> Vec<Id> {
        let due = &mut self.due[step as usize];
        let begun: Vec<Id> = due.drain(..max.min(due.len())).collect();
        for id in &begun {
            self.entry(*id).state = State::UnderWay(step);
        }
        self.under_way[step as usize] += begun.len();
        begun
    }

    /// Begins this step with this event, which waits for its turn.
    pub(super) fn begin_one(&mut self, step: Step, id: Id) {
        self.no_longer_due(step, id);
        self.entry(id).state = State::UnderWay(step);
        self.under_way[step as usize] += 1;
    }

    /// The step under way is done, and the event takes the next one.
    pub(super) fn follow(&mut self, id: Id, step: Step) {
        self.end_step(id);
        self.entry(id).attempts = 0;
        self.make_due(id, step);
    }

    /// The first event that waits for its turn at this step, and how many attempts it had.
    pub(super) fn first(&self, step: Step) -> Option<(Id, u32)> {
        let id = *self.due[step as usize].front()?;
        Some((id, self.events[&id].attempts))
    }

    /// The first event that waits for its turn at this step and had no attempt.
    pub(super) fn first_attempt(&self, step: Step) -> Option<Id> {
        let mut due = self.due[step as usize].iter().copied();
        due.find(|id| self.events[id].attempts == 0)
    }

    /// The event waits for its turn until then, which is no attempt.
    pub(super) fn postpone(&mut self, id: Id, until: Instant) {
        let State::Due(step) = self.entry(id).state else { return };
        self.no_longer_due(step, id);
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
        self.due[step as usize].push_front(id);
    }

    /// The event waits, and then takes this step. It keeps its key, and no slot.
    pub(super) fn later(&mut self, id: Id, step: Step, until: Instant) {
        let ended = self.end_step(id);
        let entry = self.entry(id);
        entry.attempts = if ended == step { entry.attempts.saturating_add(1) } else { 0 };
        entry.state = State::Later(step, until);
        self.later.insert((until, id));
    }

    /// Gives their turn to those that have waited until `now`, behind those that wait for it already: calls that hang
    /// once more would take the slots of all others.
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

    /// Whether the lease of this event was not seen for so long that another worker may have it. It counts as seen
    /// from now on.
    pub(super) fn is_doubtful(&mut self, id: Id, after: Duration, now: Instant) -> bool {
        let entry = self.entry(id);
        let is_doubtful = now.saturating_duration_since(entry.leased) >= after;
        if is_doubtful {
            entry.leased = now;
        }
        is_doubtful
    }

    /// Those that wait, of which the first of the key is not to be recorded: nothing of them is under way.
    pub(super) fn waiting(&self) -> Vec<(Id, Instant)> {
        let waits = |(until, id): &(Instant, Id)| match self.events[id].state {
            State::Later(Step::Admit | Step::Call, _) => Some((*id, *until)),
            _ => None,
        };
        self.later.iter().filter_map(waits).collect()
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
        self.due[step as usize].push_back(id);
    }

    /// Most often it is the first one.
    fn no_longer_due(&mut self, step: Step, id: Id) {
        let due = &mut self.due[step as usize];
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
        step
    }

    fn take(&mut self, id: Id) -> Arc<Envelope> {
        let entry = self.events.remove(&id).expect("an id is used until its event is removed");
        match entry.state {
            State::Behind => {}
            State::Due(step) => self.no_longer_due(step, id),
            State::Later(_, until) => drop(self.later.remove(&(until, id))),
            State::UnderWay(step) => self.under_way[step as usize] -= 1,
        }
        self.by_receipt.remove(&entry.envelope.receipt);
        entry.envelope
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::Event;
    use proptest::prelude::*;

    use super::*;

    fn envelopes(keys: &[u8], from: u64) -> Vec<Envelope> {
        let envelope = |(n, key): (usize, &u8)| {
            let seq = from + n as u64;
            let event = Event::new(seq.to_string().as_bytes(), &[*key], b"").unwrap();
            let receipt = Receipt { seq, epoch: 1 };
            Envelope { receipt, accepted_at_ms: 0, attempt: 1, term: 0, shard: None, event }
        };
        keys.iter().enumerate().map(envelope).collect()
    }

    #[derive(Debug, Clone)]
    enum Act {
        Add(Vec<u8>),
        Begin(Step, usize),
        Follow(prop::sample::Index),
        Again(prop::sample::Index),
        Later(prop::sample::Index, u64),
        Postpone(u64),
        Remove(prop::sample::Index),
        RemoveKey(prop::sample::Index),
        Wait(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let step = prop_oneof![Just(Step::Admit), Just(Step::Call), Just(Step::Record)];
        let index = any::<prop::sample::Index>;
        let act = prop_oneof![
            2 => prop::collection::vec(0..5_u8, 1..8).prop_map(Act::Add),
            6 => (step, 1..4_usize).prop_map(|(step, max)| Act::Begin(step, max)),
            6 => index().prop_map(Act::Follow),
            1 => index().prop_map(Act::Again),
            1 => (index(), 0..100_u64).prop_map(|(at, ms)| Act::Later(at, ms)),
            1 => (0..100_u64).prop_map(Act::Postpone),
            3 => index().prop_map(Act::Remove),
            1 => index().prop_map(Act::RemoveKey),
            2 => (0..60_u64).prop_map(Act::Wait),
        ];
        prop::collection::vec(act, 0..300)
    }

    /// A schedule, and what is under way in it.
    struct Model {
        schedule: Schedule<()>,
        under_way: Vec<(Id, Step)>,
        gone: BTreeMap<u8, Vec<u64>>,
        added: u64,
        now: Instant,
    }

    impl Model {
        fn act(&mut self, act: Act) {
            let schedule = &mut self.schedule;
            match act {
                Act::Add(keys) => {
                    schedule.add(envelopes(&keys, self.added), self.now);
                    self.added += keys.len() as u64;
                }
                Act::Begin(step, max) => {
                    let begun = schedule.begin(step, max);
                    self.under_way.extend(begun.into_iter().map(|id| (id, step)));
                }
                Act::Postpone(ms) => {
                    if let Some((id, _)) = schedule.first(Step::Call) {
                        schedule.postpone(id, self.now + Duration::from_millis(ms));
                    }
                }
                Act::Wait(ms) => {
                    self.now += Duration::from_millis(ms);
                    schedule.wake(self.now);
                }
                Act::Follow(at) => self.end(at, |schedule, id, step| match step {
                    Step::Admit => schedule.follow(id, Step::Call),
                    _ => schedule.follow(id, Step::Record),
                }),
                Act::Again(at) => self.end(at, |schedule, id, _| schedule.again(id)),
                Act::Later(at, ms) => {
                    let until = self.now + Duration::from_millis(ms);
                    self.end(at, |schedule, id, step| schedule.later(id, step, until));
                }
                Act::Remove(at) => {
                    let mut removed = None;
                    self.end(at, |schedule, id, _| removed = Some(schedule.remove(id)));
                    removed.into_iter().for_each(|envelope| self.is_gone(&envelope));
                }
                Act::RemoveKey(at) => {
                    let mut removed = Vec::new();
                    self.end(at, |schedule, id, _| removed = schedule.remove_key(id));
                    removed.iter().for_each(|envelope| self.is_gone(envelope));
                }
            }
        }

        fn end(&mut self, at: prop::sample::Index, end: impl FnOnce(&mut Schedule<()>, Id, Step)) {
            if !self.under_way.is_empty() {
                let (id, step) = self.under_way.swap_remove(at.index(self.under_way.len()));
                end(&mut self.schedule, id, step);
            }
        }

        fn is_gone(&mut self, envelope: &Envelope) {
            self.gone.entry(envelope.event.key()[0]).or_default().push(envelope.receipt.seq);
        }
    }

    proptest! {
        /// One step of one event of a key at once, events of a key leave in order, and none is forgotten.
        #[test]
        fn whatever_happens_each_key_keeps_its_order_and_no_event_is_forgotten(acts in acts()) {
            let now = Instant::now();
            let (schedule, gone) = (Schedule::new(), BTreeMap::new());
            let mut model = Model { schedule, under_way: Vec::new(), gone, added: 0, now };
            for act in acts {
                model.act(act);
                let mut keys = Vec::new();
                for (id, step) in &model.under_way {
                    keys.push(model.schedule.envelope(*id).event.key()[0]);
                    prop_assert!(model.schedule.under_way(*step) > 0);
                }
                let all = keys.len();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(keys.len(), all, "two events of a key are under way");
                let under_way = [Step::Admit, Step::Call, Step::Record].map(|step| model.schedule.under_way(step));
                prop_assert_eq!(under_way.iter().sum::<usize>(), all);
            }
            // All that is left can be done: nothing waits for what never comes.
            let mut turns = 0;
            while !model.schedule.is_empty() {
                model.act(Act::Wait(100));
                for step in [Step::Admit, Step::Call, Step::Record] {
                    model.act(Act::Begin(step, 100));
                }
                while let Some((id, _)) = model.under_way.pop() {
                    let envelope = model.schedule.remove(id);
                    model.is_gone(&envelope);
                }
                turns += 1;
                prop_assert!(turns < 3_000, "it stands still");
            }
            prop_assert_eq!(model.gone.values().map(Vec::len).sum::<usize>() as u64, model.added);
            for (key, seqs) in model.gone {
                prop_assert!(seqs.is_sorted(), "key {key} lost its order: {seqs:?}");
            }
        }
    }
}
