//! Hands what was spilled to the primary, in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::shared::Shared;
use crate::{Envelope, Error};

/// Events handed over at once, at most.
const BATCH_EVENTS_MAX: usize = 500;
/// How long a look into the spill waits for something to be there. A lease is never cut short (what
/// it was about to return would be held by nobody), so this is also how late a stop is noticed.
const LOOK: Duration = Duration::from_millis(200);
/// As [`LOOK`], while offers go to the spill: they do so only until it is found empty.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often at least the metrics follow what the spill holds, while nothing fails.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// How long to wait after the first failure; doubled with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// How long to wait after any failure, at most.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Runs until told to stop, and then gives back what it has not handed over.
pub(super) async fn run(shared: Arc<Shared>, stop: watch::Receiver<bool>) {
    let mut drain = Drain { shared, stop, failures: 0, shown: None };
    while !*drain.stop.borrow() {
        let spilling = drain.shared.is_spilling();
        let wait = if spilling { LOOK_AGAIN } else { LOOK };
        let looked = match drain.shared.local.lease(BATCH_EVENTS_MAX, wait).await {
            Ok(batch) if !batch.is_empty() => {
                drain.hand_over(&batch).await;
                continue;
            }
            Ok(_) if spilling => drain.shared.settle().await,
            // A spill that is closed answers at once, and there is no hurry otherwise either.
            Ok(_) => {
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        match looked {
            Ok(()) if spilling && !drain.shared.is_spilling() => {
                tracing::info!("the spill is empty: events go to the buffer itself");
            }
            Ok(()) => {}
            Err(error) => {
                drain.shared.figures.show(None);
                drain.failed(&error, "the spill can't be read").await;
            }
        }
    }
}

struct Drain {
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    /// In a row.
    failures: u32,
    shown: Option<Instant>,
}

impl Drain {
    /// Hands one batch over, however long the primary takes to be back. The batch stays in hand
    /// meanwhile rather than being released and leased again: were a release to fail, the next
    /// lease would bring later events before these. That its lease runs out does no harm, as nobody
    /// else leases from the spill.
    async fn hand_over(&mut self, batch: &[Envelope]) {
        let mut rest = batch;
        let mut size = batch.len();
        while !rest.is_empty() {
            self.show().await;
            let (piece, later) = rest.split_at(size.min(rest.len()));
            let events: Vec<_> = piece.iter().map(|envelope| envelope.event.clone()).collect();
            match self.shared.primary.offer(&events).await {
                Ok(()) => {
                    self.failures = 0;
                    self.ack(piece).await;
                    rest = later;
                }
                Err(Error::TooMany { .. }) if piece.len() > 1 => size = piece.len() / 2,
                Err(error @ Error::TooMany { .. }) => {
                    self.bury(piece, &error).await;
                    rest = later;
                }
                Err(error) => {
                    self.shown = None;
                    if !self.failed(&error, "what was spilled can't be handed over").await {
                        self.release(rest).await;
                        return;
                    }
                }
            }
        }
    }

    /// An ack that fails is not tried again: the events come again when their lease expires, and
    /// reach the primary a second time.
    async fn ack(&self, piece: &[Envelope]) {
        let receipts: Vec<_> = piece.iter().map(|envelope| envelope.receipt).collect();
        if let Err(error) = self.shared.local.ack(&receipts).await {
            tracing::warn!(%error, "events handed over stay in the spill; they come again");
        }
    }

    /// What the primary could never hold must not keep the others from it.
    async fn bury(&self, piece: &[Envelope], error: &Error) {
        tracing::error!(%error, "an event is too large for the buffer: it is among the spill's dead");
        let burials: Vec<_> =
            piece.iter().map(|envelope| (envelope.receipt, error.to_string())).collect();
        if let Err(error) = self.shared.local.bury(&burials).await {
            tracing::warn!(%error, "an event could not be buried in the spill; it comes again");
        }
    }

    async fn release(&self, rest: &[Envelope]) {
        let receipts: Vec<_> = rest.iter().map(|envelope| envelope.receipt).collect();
        if let Err(error) = self.shared.local.release(&receipts, Duration::ZERO).await {
            tracing::warn!(%error, "events stay leased in the spill until their lease expires");
        }
    }

    /// Waits before the next try; `false` when told to stop instead.
    async fn failed(&mut self, error: &Error, what: &str) -> bool {
        let wait = backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(%error, failures = self.failures, "{what}; trying again in {wait:?}");
        let stopped = self.stop.wait_for(|stop| *stop);
        tokio::time::timeout(wait, stopped).await.is_err()
    }

    async fn show(&mut self) {
        if self.shown.is_some_and(|shown| shown.elapsed() < SHOW_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        self.shared.figures.show(self.shared.local.depth().await.ok());
    }
}

/// How long to wait after this many failures before the one just seen.
fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_seconds() {
        let waits: Vec<u128> = [0, 1, 2, 5, 6, u32::MAX].map(|n| backoff(n).as_millis()).into();
        assert_eq!(waits, [100, 200, 400, 3200, 5000, 5000]);
    }
}
