//! What a lane holds: the receipts of its events, in the order in which they came.
//!
//! A lane takes events first in, first out, unless one has to wait alone. So the receipts are a plain queue: one lock
//! for each batch that comes and one for each that is done. Calls end in any order. Receipts that are done behind one
//! that is held stay in the queue, marked, until they are first or are more than the others: each is looked at twice.

use std::borrow::Borrow;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use buffer::{Envelope, Receipt};

/// The queue is not searched for fewer marked receipts than these.
const DONE_MIN: usize = 64;

#[derive(Default)]
pub(crate) struct Held(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    receipts: VecDeque<Receipt>,
    /// Those of `receipts` that are done: not more than half of them, or [`DONE_MIN`].
    done: HashSet<Receipt>,
}

impl Queue {
    fn is_first(&self, envelopes: &[impl Borrow<Envelope>]) -> bool {
        let first = self.receipts.iter().zip(envelopes);
        let same = first.filter(|(held, done)| **held == (*done).borrow().receipt);
        self.done.is_empty() && same.count() == envelopes.len()
    }

    fn forget(&mut self) {
        while self.receipts.front().is_some_and(|first| self.done.remove(first)) {
            self.receipts.pop_front();
        }
        if self.done.len() > DONE_MIN.max(self.receipts.len() / 2) {
            self.receipts.retain(|held| !self.done.contains(held));
            self.done.clear();
        }
    }
}

impl Held {
    /// Called by the dispatcher just before it hands these to the lane.
    pub(crate) fn add(&self, envelopes: &[Envelope]) {
        self.queue().receipts.extend(envelopes.iter().map(|envelope| envelope.receipt));
    }

    /// Called by the lane when these are acked or buried.
    pub(crate) fn done<E: Borrow<Envelope>>(&self, envelopes: &[E]) {
        let mut queue = self.queue();
        if queue.is_first(envelopes) {
            queue.receipts.drain(..envelopes.len());
        } else {
            queue.done.extend(envelopes.iter().map(|done| done.borrow().receipt));
            queue.forget();
        }
    }

    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        let queue = self.queue();
        let held = queue.receipts.iter().filter(|receipt| !queue.done.contains(receipt));
        held.copied().collect()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::Event;
    use proptest::prelude::*;

    use super::*;

    fn envelope(seq: u64) -> Envelope {
        let event = Event::new(b"id", b"key", b"").unwrap();
        let receipt = Receipt { seq, epoch: 1 };
        Envelope { receipt, accepted_at_ms: 0, attempt: 1, term: 0, shard: None, event }
    }

    #[test]
    fn an_event_that_is_held_for_long_does_not_let_the_queue_grow() {
        let held = Held::default();
        held.add(&[envelope(0)]);
        for first in (1..100_000).step_by(10) {
            let envelopes: Vec<_> = (first..first + 10).map(envelope).collect();
            held.add(&envelopes);
            held.done(&envelopes);
        }
        assert_eq!(held.receipts(), [envelope(0).receipt]);
        assert!(held.queue().receipts.len() < 200, "{}", held.queue().receipts.len());
    }

    proptest! {
        #[test]
        fn whatever_is_done_the_others_are_held_in_their_order(
            acts in prop::collection::vec((1..200_u64, any::<prop::sample::Index>(), 1..200_usize), 0..60)
        ) {
            let (held, mut model, mut next) = (Held::default(), BTreeSet::new(), 0);
            for (added, at, done) in acts {
                let envelopes: Vec<_> = (next..next + added).map(envelope).collect();
                held.add(&envelopes);
                model.extend(next..next + added);
                next += added;
                let from = at.index(model.len());
                let done: Vec<u64> = model.iter().copied().skip(from).take(done).collect();
                model.retain(|seq| !done.contains(seq));
                held.done(&done.into_iter().map(envelope).collect::<Vec<_>>());
                let seqs: Vec<u64> = held.receipts().iter().map(|receipt| receipt.seq).collect();
                prop_assert_eq!(seqs, model.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
