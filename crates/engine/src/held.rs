//! What a lane holds: the receipts of its events, in the order it settles them.
//!
//! A lane takes events strictly first in, first out, so the receipts are a plain queue: one lock for
//! each batch that comes and one for each that is done, and nothing for each event.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use buffer::{Envelope, Receipt};

#[derive(Default)]
pub(crate) struct Held(Mutex<VecDeque<Receipt>>);

impl Held {
    /// Called by the dispatcher just before it hands these to the lane.
    pub(crate) fn add(&self, envelopes: &[Envelope]) {
        self.queue().extend(envelopes.iter().map(|envelope| envelope.receipt));
    }

    /// Called by the lane when its first `count` events are acked or buried.
    pub(crate) fn done(&self, count: usize) {
        self.queue().drain(..count);
    }

    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.queue().iter().copied().collect()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Receipt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
