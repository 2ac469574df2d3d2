//! What follows once the outcomes are known: ack, bury, count.

use std::sync::Arc;

use buffer::{Envelope, Receipt};
use model::clock::EpochMs;

use super::Worker;
use super::steps::Stop;
use crate::Outcome;
use crate::burial::{Burial, ack};

impl Worker {
    /// Acks what is in the store, and buries what was rejected.
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
        ack(&self.shared, self.index, &done).await;
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

    /// Until it is done. Returns how many were buried, and what another worker decides about.
    async fn bury(&mut self, burials: &[(Receipt, String)]) -> Result<(u64, Vec<Receipt>), Stop> {
        let shared = Arc::clone(&self.shared);
        let mut burial = Burial::of(burials);
        let lane = self.index;
        while let Some(failures) = burial.attempt(&shared, lane).await.map_err(Stop::Failed)? {
            let wait = self.backoff.after(failures);
            if !self.pause(wait).await {
                return Err(Stop::Abandoned);
            }
        }
        Ok((burial.buried, burial.lost))
    }
}

/// Neighbours that took equally long (as those offered together mostly did) are counted at once.
#[derive(Default)]
pub(crate) struct Run {
    latency_ms: i64,
    count: u64,
}

impl Run {
    /// Returns the run that this latency ended, if it ended one.
    pub(crate) fn add(&mut self, latency_ms: i64) -> Option<(u64, u64)> {
        if latency_ms == self.latency_ms {
            self.count += 1;
            return None;
        }
        std::mem::replace(self, Self { latency_ms, count: 1 }).end()
    }

    /// A clock that was set back in between must not make a latency negative.
    pub(crate) fn end(self) -> Option<(u64, u64)> {
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
