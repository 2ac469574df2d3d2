//! Letting go of keys whose events this lane no longer holds.
//!
//! A process that stood still may have lost its leases to another one, which then decides about the
//! same events. If it waits for the first event of a key, the later events of the key must not be
//! settled here. The buffer passes over receipts that are no longer valid and returns a smaller
//! count. The lane then releases all it holds of the key: valid leases come again in their order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use buffer::{Class, Classify, Envelope, Receipt};

use super::Worker;
use super::steps::Stop;
use crate::backoff::is_said;

impl Worker {
    /// Whether the lease of `envelope` is still valid, as far as the buffer can answer.
    pub(super) async fn is_leased(&mut self, envelope: &Envelope) -> bool {
        let lease = Duration::from_millis(self.shared.options.lease_ms);
        !matches!(self.shared.buffer.extend(&[envelope.receipt], lease).await, Ok(0))
    }

    /// Releases all that the lane holds of the lost keys. Tries again until the buffer answers.
    pub(super) async fn let_go(&mut self) -> Result<(), Stop> {
        let mut failures = 0;
        while self.apart.has_lost() {
            let Err(error) = self.release_lost().await? else { break };
            if error.class() != Class::Retryable {
                return Err(Stop::Failed(error.into()));
            }
            failures += 1;
            if is_said(failures) {
                let lane = self.index;
                tracing::warn!(lane, %error, failures, "cannot release events of lost leases; trying again");
            }
            let wait = self.backoff.after(failures);
            if !self.pause(wait).await {
                return Err(Stop::Abandoned);
            }
        }
        Ok(())
    }

    async fn release_lost(&mut self) -> Result<Result<(), buffer::Error>, Stop> {
        let shared = Arc::clone(&self.shared);
        // No later event of these keys may be on its way here while the earlier ones are released.
        let _leasing = tokio::select! {
            biased;
            () = shared.abandon.cancelled() => return Err(Stop::Abandoned),
            leasing = shared.leasing.lock() => leasing,
        };
        while let Ok(chunk) = self.queue.try_recv() {
            self.pending.extend(chunk);
        }
        let lost = self.pending.iter().filter(|envelope| self.apart.is_lost(envelope));
        let lost: Vec<Envelope> = lost.cloned().collect();
        if !lost.is_empty() {
            let receipts: Vec<Receipt> = lost.iter().map(|envelope| envelope.receipt).collect();
            let released = match shared.buffer.release(&receipts, Duration::ZERO).await {
                Ok(released) => released,
                Err(error) => return Ok(Err(error)),
            };
            let (lane, events) = (self.index, lost.len());
            tracing::info!(lane, events, released, "let go of events behind a lost lease");
            let receipts: HashSet<Receipt> = receipts.into_iter().collect();
            self.pending.retain(|envelope| !receipts.contains(&envelope.receipt));
            lost.iter().for_each(|envelope| self.apart.given_back.follow(envelope));
            shared.held[self.index].done(&lost);
            shared.room.add_permits(events);
        }
        self.apart.forget_lost();
        Ok(Ok(()))
    }
}
