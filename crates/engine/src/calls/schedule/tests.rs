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
            Act::Begin(Step::Call, max) => {
                for _ in 0..max {
                    let Some((id, _)) = schedule.next_call(max % 2 == 0, max) else { break };
                    schedule.begin_call(id);
                    self.under_way.push((id, Step::Call));
                }
            }
            Act::Begin(step, max) => {
                let begun = schedule.begin(step, max);
                self.under_way.extend(begun.into_iter().map(|id| (id, step)));
            }
            Act::Postpone(ms) => {
                if let Some((id, _)) = schedule.next_call(false, 2) {
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
