//! What follows once the outcomes are known, and what goes back to the buffer undone.

use std::sync::Arc;
use std::time::Duration;

use buffer::{Class, Classify, Envelope, Receipt};
use model::clock::EpochMs;
use tokio::time::Instant;

use super::caller::{Caller, Ended, Stop};
use super::schedule::{Id, Step};
use super::{Calls, LATER_MAX, Outcome};
use crate::Error;
use crate::backoff::{Backoff, is_said};
use crate::burial::Burial;
use crate::shared::Shared;

/// The place of the caller among the lanes: it is the only one.
const LANE: usize = 0;
/// How long the last release of a forced stop may take.
const RELEASE_MAX: Duration = Duration::from_secs(1);

impl<H: Calls> Caller<H> {
    /// Acks what is in the store, buries what was rejected, and keeps what is to come later.
    pub(super) fn finish(&mut self, outcomes: Vec<(Id, Outcome)>, began_ms: EpochMs) {
        let completed_at_ms = self.shared.clock.now_ms();
        let (mut settled, mut duplicates, mut parked) = (0, 0, 0);
        let (mut done, mut rejected) = (Vec::new(), Vec::new());
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Later(delay) => {
                    self.schedule.later(id, Step::Admit, Instant::now() + delay.min(LATER_MAX));
                }
                Outcome::Rejected(reason) => {
                    let receipt = self.schedule.envelope(id).receipt;
                    self.schedule.bury(id);
                    rejected.push((id, (receipt, reason)));
                }
                Outcome::Settled | Outcome::Parked => {
                    settled += 1;
                    parked += u64::from(outcome == Outcome::Parked);
                    let envelope = self.schedule.remove(id);
                    let latency_ms = completed_at_ms.saturating_sub(envelope.accepted_at_ms);
                    self.shared.stats.took(u64::try_from(latency_ms).unwrap_or(0), 1);
                    done.push(envelope);
                }
                Outcome::Duplicate => {
                    duplicates += 1;
                    done.push(self.schedule.remove(id));
                }
            }
        }
        self.stats.parked(parked);
        self.shared.stats.finished(settled, duplicates, 0);
        self.shared.progress.add(began_ms, completed_at_ms, settled, duplicates, 0);
        let (ids, burials): (Vec<Id>, Vec<(Receipt, String)>) = rejected.into_iter().unzip();
        if done.is_empty() && ids.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut backoff = Backoff::new(&shared.options, began_ms.unsigned_abs());
        self.tasks.spawn(async move {
            let receipts: Vec<Receipt> = done.iter().map(|envelope| envelope.receipt).collect();
            ack_all(&shared, &receipts, &mut backoff).await;
            // The room is freed last: a drain ends when all room is free.
            shared.held[LANE].done(&done);
            shared.room.add_permits(done.len());
            let lost = bury(&shared, &burials, backoff, began_ms).await;
            Ended::Finished(ids, lost)
        });
    }

    /// These are no longer held.
    pub(super) fn done(&self, envelopes: &[Arc<Envelope>]) {
        self.shared.held[LANE].done(envelopes);
        self.shared.room.add_permits(envelopes.len());
    }

    /// Another worker decides about this event, or it is leased again here. All held events of its key go back, and
    /// a later one that is leased before them waits for them.
    pub(super) async fn lose(&mut self, id: Id) -> Result<(), Stop> {
        let envelopes = self.schedule.remove_key(id);
        envelopes.iter().for_each(|envelope| self.given_back.append(envelope));
        self.release(&envelopes, Duration::ZERO).await
    }

    /// Until it is done, or the engine gives up waiting: then the supervisor gives back what is held.
    pub(super) async fn release(
        &mut self,
        envelopes: &[Arc<Envelope>],
        delay: Duration,
    ) -> Result<(), Stop> {
        let receipts: Vec<Receipt> = envelopes.iter().map(|envelope| envelope.receipt).collect();
        let shared = Arc::clone(&self.shared);
        let mut failures = 0;
        loop {
            let released = tokio::select! {
                biased;
                () = shared.abandon.cancelled() => return Err(Stop::Abandoned),
                released = shared.buffer.release(&receipts, delay) => released,
            };
            let Err(error) = released else { break };
            if error.class() != Class::Retryable {
                return Err(Stop::Failed(error.into()));
            }
            failures += 1;
            if is_said(failures) {
                tracing::warn!(%error, failures, "cannot release events; trying again");
            }
            if !shared.pause(self.outages.after(failures)).await {
                return Err(Stop::Abandoned);
            }
        }
        self.done(envelopes);
        Ok(())
    }

    /// At a drain: what is not called yet goes back, and can be leased at once.
    pub(super) async fn give_back_not_begun(&mut self) -> Result<(), Stop> {
        let ids = self.schedule.not_begun();
        let envelopes: Vec<_> =
            ids.into_iter().flat_map(|id| self.schedule.remove_key(id)).collect();
        for part in envelopes.chunks(self.shared.options.batch_max) {
            self.release(part, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// At a forced stop: calls under way may still have their effect. Their keys go back after the time that a call
    /// may take; the supervisor gives back the rest.
    pub(super) async fn abandon(&mut self) {
        self.tasks.abort_all();
        let mut envelopes = Vec::new();
        for id in self.schedule.keys_under_way(Step::Call) {
            envelopes.extend(self.schedule.remove_key(id));
        }
        if envelopes.is_empty() {
            return;
        }
        let delay = Duration::from_millis(self.handler.1.timeout_ms);
        let receipts: Vec<Receipt> = envelopes.iter().map(|envelope| envelope.receipt).collect();
        self.shared.leftover.stay_away(delay);
        let release = self.shared.buffer.release(&receipts, delay);
        let events = receipts.len();
        let problem = match tokio::time::timeout(RELEASE_MAX, release).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(late) => Some(late.to_string()),
        };
        self.shared.held[LANE].done(&envelopes);
        if let Some(problem) = problem {
            tracing::warn!(
                events,
                "cannot release events of abandoned calls: {problem}; they are leased again when their leases end"
            );
            // The next engine of this process would lease later events of their keys before that.
            let lease = Duration::from_millis(self.shared.options.lease_ms);
            self.shared.leftover.stay_leased(receipts, Instant::now() + lease);
        }
    }
}

/// Until it is done, or the engine gives up waiting: a handler may not know an event that comes twice.
async fn ack_all(shared: &Shared, receipts: &[Receipt], backoff: &mut Backoff) {
    let mut failures = 0;
    while !receipts.is_empty()
        && let Err(error) = shared.buffer.ack(receipts).await
    {
        if error.class() != Class::Retryable {
            return;
        }
        failures += 1;
        if is_said(failures) {
            let events = receipts.len();
            tracing::warn!(events, failures, %error, "cannot ack settled events; trying again");
        }
        if !shared.pause(backoff.after(failures)).await {
            return;
        }
    }
}

/// Until it is done. Returns what another worker decides about.
async fn bury(
    shared: &Shared,
    burials: &[(Receipt, String)],
    mut backoff: Backoff,
    began_ms: EpochMs,
) -> Result<Vec<Receipt>, Error> {
    let mut burial = Burial::kept(burials);
    while let Some(failures) = burial.attempt(shared, LANE).await? {
        shared.pause(backoff.after(failures)).await;
    }
    shared.stats.finished(0, 0, burial.buried);
    shared.progress.add(began_ms, shared.clock.now_ms(), 0, 0, burial.buried);
    Ok(burial.lost)
}
