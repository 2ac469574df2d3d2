//! What is known of a step that takes many events at once.

use std::collections::HashMap;

use tokio::time::Instant;

use super::schedule::Id;

/// One of the two steps that take many events at once.
pub(super) struct Together {
    max: usize,
    /// Taken together now: fewer while a part is looked for that the store does not take.
    pub(super) now: usize,
    pub(super) failures: u32,
    pub(super) paused_until: Option<Instant>,
    /// Counts the attempts that the store took.
    pub(super) taken: u64,
    /// Events that failed alone, and what was counted when they first did.
    pub(super) suspects: HashMap<Id, u64>,
}

impl Together {
    pub(super) fn new(max: usize) -> Self {
        let suspects = HashMap::new();
        Self { max, now: max, failures: 0, paused_until: None, taken: 0, suspects }
    }

    /// When the step may be taken again, if that is later than `now`.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now)
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
