//! What a lane holds: the receipts of its events, in the order in which they came.
//!
//! A lane takes events first in, first out, unless one has to wait alone. So the receipts are a plain
//! queue: one lock for each batch that comes and one for each that is done.

use std::borrow::Borrow;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use buffer::{Envelope, Receipt};

#[derive(Default)]
pub(crate) struct Held(Mutex<VecDeque<Receipt>>);

impl Held {
    /// Called by the dispatcher just before it hands these to the lane.
    pub(crate) fn add(&self, envelopes: &[Envelope]) {
        self.queue().extend(envelopes.iter().map(|envelope| envelope.receipt));
    }

    /// Called by the lane when these are acked or buried.
    pub(crate) fn done<E: Borrow<Envelope>>(&self, envelopes: &[E]) {
        let mut queue = self.queue();
        let first = queue.iter().zip(envelopes);
        if first.filter(|(held, done)| **held == (*done).borrow().receipt).count()
            == envelopes.len()
        {
            queue.drain(..envelopes.len());
        } else {
            let done: HashSet<Receipt> =
                envelopes.iter().map(|done| done.borrow().receipt).collect();
            queue.retain(|held| !done.contains(held));
        }
    }

    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.queue().iter().copied().collect()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Receipt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
