//! What follows once the outcomes are known: ack, bury, count.

use std::time::Duration;

use buffer::{Class, Classify, Envelope, Receipt};
use model::clock::EpochMs;

use super::{Stop, Worker};
use crate::Outcome;
use crate::backoff::is_said;

/// After how long a bad event comes again that found no room among the dead letters.
const ROOM_PAUSE: Duration = Duration::from_secs(5);

impl Worker {
    /// Acks what is in the store, and buries what was rejected: burying includes the ack, so that
    /// no event can vanish between the two.
    pub(super) async fn finish(
        &mut self,
        events: &[Envelope],
        outcomes: Vec<Outcome>,
        started_at_ms: EpochMs,
    ) -> Result<(), Stop> {
        let completed_at_ms = self.shared.clock.now_ms();
        let (mut settled, mut duplicates) = (0, 0);
        let mut done = Vec::with_capacity(events.len());
        let mut rejected = Vec::new();
        let mut latencies = Run::default();
        for (envelope, outcome) in events.iter().zip(outcomes) {
            match outcome {
                Outcome::Settled => {
                    settled += 1;
                    done.push(envelope.receipt);
                    let latency_ms = completed_at_ms.saturating_sub(envelope.accepted_at_ms);
                    self.took(latencies.add(latency_ms));
                }
                Outcome::Duplicate => {
                    duplicates += 1;
                    done.push(envelope.receipt);
                }
                Outcome::Rejected(reason) => rejected.push((envelope.receipt, reason)),
            }
        }
        self.took(latencies.end());
        self.ack(&done).await;
        self.shared.stats.finished(settled, duplicates, 0);
        self.shared.progress.add(started_at_ms, completed_at_ms, settled, duplicates, 0);

        if !rejected.is_empty() {
            let (dead, lost) = self.bury(&rejected).await?;
            let lost = events.iter().filter(|envelope| lost.contains(&envelope.receipt));
            lost.for_each(|envelope| self.apart.lose(envelope));
            self.shared.stats.finished(0, 0, dead);
            self.shared.progress.add(started_at_ms, self.shared.clock.now_ms(), 0, 0, dead);
        }
        self.shared.held[self.index].done(events);
        // Last, for room tells a drain that nothing is left to be counted.
        self.shared.room.add_permits(events.len());
        Ok(())
    }

    fn took(&self, run: Option<(u64, u64)>) {
        if let Some((latency_ms, count)) = run {
            self.shared.stats.took(latency_ms, count);
        }
    }

    /// Until it is done, for an event must not be given up before it is durably among the dead. What there
    /// is no room for among the dead letters goes back: it must not keep its neighbours waiting.
    ///
    /// Returns how many were buried, and the receipts of which some were passed over: another worker
    /// may hold those events now, and decides about them.
    async fn bury(&mut self, burials: &[(Receipt, String)]) -> Result<(u64, Vec<Receipt>), Stop> {
        let (mut left, mut together) = (burials, burials.len());
        let (mut buried, mut failures) = (0, 0);
        let mut lost = Vec::new();
        while !left.is_empty() {
            together = together.min(left.len());
            let (these, rest) = left.split_at(together);
            let error = match self.shared.buffer.bury(these).await {
                Ok(count) => {
                    buried += count as u64;
                    if count < these.len() {
                        lost.extend(these.iter().map(|(receipt, _)| *receipt));
                    }
                    left = rest;
                    continue;
                }
                // A buffer takes all of them or none.
                Err(buffer::Error::Full { .. }) if together > 1 => {
                    together /= 2;
                    continue;
                }
                Err(error @ buffer::Error::Full { .. }) => {
                    self.give_back(left, &error).await;
                    break;
                }
                Err(error) => error,
            };
            if error.class() != Class::Retryable {
                return Err(Stop::Failed(error.into()));
            }
            failures += 1;
            let (lane, events) = (self.index, left.len());
            if is_said(failures) {
                tracing::warn!(lane, events, %error, "events could not be buried; the lane waits");
            }
            let wait = self.backoff.after(failures);
            if !self.pause(wait).await {
                return Err(Stop::Abandoned);
            }
        }
        Ok((buried, lost))
    }

    /// Bad events that find no room come again after a while, and are bad then too. If this fails they come
    /// when their leases expire.
    async fn give_back(&mut self, burials: &[(Receipt, String)], full: &buffer::Error) {
        let (lane, events) = (self.index, burials.len());
        tracing::warn!(
            lane,
            events,
            %full,
            "bad events are given back until there is room: replay or drop dead letters"
        );
        let receipts: Vec<Receipt> = burials.iter().map(|(receipt, _)| *receipt).collect();
        if let Err(error) = self.shared.buffer.release(&receipts, ROOM_PAUSE).await {
            tracing::warn!(lane, events, %error, "they could not be given back; they come when their leases end");
        }
    }

    /// An ack that fails is not tried again: the events come again when their leases expire, and
    /// are found to be duplicates.
    async fn ack(&mut self, receipts: &[Receipt]) {
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.shared.buffer.ack(receipts).await {
            let (lane, events) = (self.index, receipts.len());
            tracing::warn!(lane, events, %error, "settled events could not be acked; they come again");
        }
    }
}

/// Neighbours that took equally long (as those offered together mostly did) are counted at once.
#[derive(Default)]
struct Run {
    latency_ms: i64,
    count: u64,
}

impl Run {
    /// Returns the run that this latency ended, if it ended one.
    fn add(&mut self, latency_ms: i64) -> Option<(u64, u64)> {
        if latency_ms == self.latency_ms {
            self.count += 1;
            return None;
        }
        std::mem::replace(self, Self { latency_ms, count: 1 }).end()
    }

    /// A clock that was set back in between must not make a latency negative.
    fn end(self) -> Option<(u64, u64)> {
        (self.count > 0).then(|| (u64::try_from(self.latency_ms).unwrap_or(0), self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_latencies_are_counted_together() {
        let mut run = Run::default();
        let mut counted: Vec<(u64, u64)> =
            [0, 0, 5, 5, 5, -3, 7].into_iter().filter_map(|ms| run.add(ms)).collect();
        counted.extend(run.end());
        assert_eq!(counted, [(0, 2), (5, 3), (0, 1), (7, 1)]);
        assert_eq!(Run::default().end(), None);
    }
}
