//! An attempt that the guard allowed.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use guard::Attempt;
use tokio::time::Instant;

use super::stats::Stats;
use super::{Calls, Options};

/// It goes back to the guard however its call ends, also when the call is dropped: a permit that is lost would
/// count against the limit for good.
pub(super) struct Permit<H: Calls> {
    handler: Arc<(H, Options)>,
    stats: Arc<Stats>,
    attempt: Option<Attempt>,
    began: Instant,
}

impl<H: Calls> Permit<H> {
    pub(super) fn new(handler: Arc<(H, Options)>, stats: Arc<Stats>, attempt: Attempt) -> Self {
        Self { handler, stats, attempt: Some(attempt), began: Instant::now() }
    }

    /// The call has ended.
    pub(super) fn finish(mut self, outcome: guard::Outcome, retry_after: Option<Duration>) {
        self.give_back(outcome, retry_after);
    }

    fn give_back(&mut self, outcome: guard::Outcome, retry_after: Option<Duration>) {
        let Some(attempt) = self.attempt.take() else { return };
        self.stats.ended(outcome, self.began.elapsed());
        let mut guard = self.handler.0.guard().lock().unwrap_or_else(PoisonError::into_inner);
        guard.finish(attempt, outcome, retry_after, Instant::now().into_std());
    }
}

impl<H: Calls> Drop for Permit<H> {
    fn drop(&mut self) {
        self.give_back(guard::Outcome::Abandoned, None);
    }
}
