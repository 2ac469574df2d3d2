//! What is known of a step that takes many events at once.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::schedule::Id;

/// One of the two steps that take many events at once.
pub(super) struct Together {
    max: usize,
    /// Taken together now: fewer while a part is looked for that the store does not take.
    pub(super) now: usize,
    pub(super) failures: u32,
    pub(super) paused_until: Option<Instant>,
    /// Since when events wait for this step that could take it.
    waiting_since: Option<Instant>,
    /// Counts the attempts that the store took.
    pub(super) taken: u64,
    /// Events that failed alone, and what was counted when they first did.
    pub(super) suspects: HashMap<Id, u64>,
}

impl Together {
    pub(super) fn new(max: usize) -> Self {
        let suspects = HashMap::new();
        let (paused_until, waiting_since) = (None, None);
        Self { max, now: max, failures: 0, paused_until, waiting_since, taken: 0, suspects }
    }

    /// When the step may be taken again, if that is later than `now`.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now)
    }

    /// For how long events wait for this step, while `due` of them do.
    pub(super) fn waited(&mut self, due: usize, now: Instant) -> Duration {
        if due == 0 {
            self.waiting_since = None;
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.waiting_since.get_or_insert(now))
    }

    /// The step begins: those that are still due wait from now on.
    pub(super) fn begun(&mut self) {
        self.waiting_since = None;
    }

    pub(super) fn took(&mut self, ids: &[Id]) {
        self.failures = 0;
        self.taken += 1;
        self.now = (self.now * 2).min(self.max);
        for id in ids {
            self.suspects.remove(id);
        }
    }
}
