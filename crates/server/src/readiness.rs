//! Whether this process takes events, and if not, why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What stands in the way of taking events, by part. Ready when nothing does. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    blocks: Mutex<BTreeMap<&'static str, String>>,
    /// Problems that need an operator, though events are taken.
    warnings: Mutex<Vec<String>>,
    /// Whether `blocks` holds anything: read for every request, so without the lock.
    blocked: AtomicBool,
}

impl Readiness {
    /// Ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `part` stands in the way, because of `reason`, a clause for people that holds no secret:
    /// `/ready` shows it. Returns whether `part` did not before.
    pub fn block(&self, part: &'static str, reason: impl Into<String>) -> bool {
        let mut blocks = self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let newly = blocks.insert(part, reason.into()).is_none();
        self.0.blocked.store(true, Ordering::Release);
        newly
    }

    /// `part` no longer stands in the way.
    pub fn clear(&self, part: &'static str) {
        let mut blocks = self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.remove(part);
        self.0.blocked.store(!blocks.is_empty(), Ordering::Release);
    }

    /// Sets the warnings of `/ready`, in place of those before. They are sentences that hold no secret.
    pub fn warn(&self, warnings: Vec<String>) {
        *self.0.warnings.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
    }

    /// The warnings of [`Readiness::warn`].
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.0.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing stands in the way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.blocked.load(Ordering::Acquire)
    }

    /// What stands in the way: part and reason, by part.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        let blocks = self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.iter().map(|(part, reason)| (*part, reason.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_again_only_when_every_part_is() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        assert!(readiness.block("journal", "is being recovered"));
        assert!(readiness.block("store", "is being migrated"));
        assert!(!readiness.block("store", "can't be reached"));
        readiness.clear("journal");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.reasons(), [("store", "can't be reached".to_owned())]);
        readiness.clear("store");
        assert!(readiness.is_ready());
        readiness.warn(vec!["the store refuses 2 events of prices".to_owned()]);
        assert!(readiness.is_ready(), "events are taken all the same");
        assert_eq!(readiness.warnings().len(), 1);
    }
}
