//! How many events are held, known cheaply enough to ask before every offer.
//!
//! The count is measured from Kafka's watermarks and the group's commits, and kept up in between by
//! what this process offers and acks. What others do shows within [`STALE_MAX`], and what they ack
//! once they have committed it. Before an offer is refused it is measured again.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use buffer::Error;

use crate::lock::lock;

/// How old a measurement may be.
const STALE_MAX: Duration = Duration::from_millis(500);
/// How often a buffer that is full is measured at most.
const FULL_EVERY: Duration = Duration::from_millis(20);
/// When a refused producer should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of how much is held.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    known: Mutex<Known>,
    /// One measures; others use what it finds.
    pub(crate) measuring: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    held: u64,
    /// Offered and not yet confirmed.
    offered: u64,
    at: Option<Instant>,
}

impl Lag {
    /// That many are done.
    pub(crate) fn done(&self, count: usize) {
        let mut known = self.known();
        known.held = known.held.saturating_sub(count as u64);
    }

    /// An offer ended, one way or the other.
    pub(crate) fn confirmed(&self, count: usize) {
        let mut known = self.known();
        known.offered = known.offered.saturating_sub(count as u64);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// How much is offered and not yet confirmed, unless it was measured since `before`.
    pub(crate) fn offered(&self, before: Instant) -> Option<u64> {
        let known = self.known();
        known.at.is_none_or(|at| at < before).then_some(known.offered)
    }

    /// That much is held, as was just found.
    pub(crate) fn measured(&self, held: u64) {
        let mut known = self.known();
        known.held = held;
        known.at = Some(Instant::now());
    }

    /// Makes room for that many if there is any by what is known; `None` where it is known too badly.
    pub(crate) fn reserve(&self, count: u64, max: u64) -> Option<bool> {
        let mut known = self.known();
        let age = known.at?.elapsed();
        let fits = known.held + count <= max;
        if age > STALE_MAX || (!fits && age > FULL_EVERY) {
            return None;
        }
        if fits {
            known.held += count;
            known.offered += count;
        }
        Some(fits)
    }
}

/// A bound is reached.
pub(crate) fn full(bound: String) -> Error {
    Error::Full { bound, retry_after: RETRY_AFTER }
}
