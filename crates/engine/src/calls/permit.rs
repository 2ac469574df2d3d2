//! An attempt that the guard allowed.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use guard::Attempt;
use tokio::time::Instant;

use super::{Calls, Options};

/// It goes back to the guard however its call ends, also when the call is dropped: a permit that is lost would
/// count against the limit for good.
pub(super) struct Permit<H: Calls> {
    handler: Arc<(H, Options)>,
    attempt: Option<Attempt>,
}

impl<H: Calls> Permit<H> {
    pub(super) fn new(handler: Arc<(H, Options)>, attempt: Attempt) -> Self {
        Self { handler, attempt: Some(attempt) }
    }

    /// The call has ended.
    pub(super) fn finish(mut self, outcome: guard::Outcome, retry_after: Option<Duration>) {
        self.give_back(outcome, retry_after);
    }

    fn give_back(&mut self, outcome: guard::Outcome, retry_after: Option<Duration>) {
        let Some(attempt) = self.attempt.take() else { return };
        let mut guard = self.handler.0.guard().lock().unwrap_or_else(PoisonError::into_inner);
        guard.finish(attempt, outcome, retry_after, Instant::now().into_std());
    }
}

impl<H: Calls> Drop for Permit<H> {
    fn drop(&mut self) {
        self.give_back(guard::Outcome::Abandoned, None);
    }
}
