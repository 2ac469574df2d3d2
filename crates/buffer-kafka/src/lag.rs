//! How many events are held, known cheaply enough to ask before every offer.
//!
//! The count is measured from Kafka's watermarks and the group's commits, and kept up in between by
//! what this process offers and acks. What others do shows within [`STALE_MAX`], and what they ack
//! once they have committed it. Before an offer is refused it is measured again.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use buffer::Error;

use crate::shared::{Shared, lock};

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
    measuring: tokio::sync::Mutex<()>,
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

    /// Makes room for that many if there is any by what is known.
    fn reserve(&self, count: u64, max: u64) -> Option<bool> {
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

impl Shared {
    /// Makes room for `count` events, to be [confirmed](Lag::confirmed) once they are written.
    pub(crate) async fn reserve(&self, count: usize) -> Result<(), Error> {
        let (wide, max) = (count as u64, self.options.events_max as u64);
        loop {
            match self.lag.reserve(wide, max) {
                Some(true) => return Ok(()),
                Some(false) => {
                    return Err(full(format!("events_max = {max} events")));
                }
                None => self.measure().await?,
            }
        }
    }

    async fn measure(&self) -> Result<(), Error> {
        let before = Instant::now();
        let _measuring = self.lag.measuring.lock().await;
        if self.lag.known().at.is_some_and(|at| at >= before) {
            return Ok(());
        }
        // What is on its way now may or may not be among what is found: it is counted twice rather
        // than not at all, until the next time.
        let offered = self.lag.known().offered;
        let found = self.backlog().await?;
        let mut known = self.lag.known();
        known.held = found.ready + found.leased + offered;
        known.at = Some(Instant::now());
        Ok(())
    }
}

/// A bound is reached.
pub(crate) fn full(bound: String) -> Error {
    Error::Full { bound, retry_after: RETRY_AFTER }
}
