//! Leases events and hands each to the lane of its key.

use std::sync::Arc;
use std::time::Duration;

use buffer::{Class, Classify, Envelope};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Error;
use crate::backoff::{Backoff, is_said};
use crate::shared::Shared;

/// How long one lease waits at least for its first event.
const LEASE_WAIT_MIN: Duration = Duration::from_millis(100);
/// The leases of all pipelines of a process that find nothing end together, so often: a hundred idle pipelines
/// then wake the process no more often than one. A lease under way is never dropped (what it was about to return
/// would be held by nobody), so this and [`LEASE_WAIT_MIN`] are also how late a stop may be noticed.
const LEASES_END_EVERY: Duration = Duration::from_millis(300);
/// How long to wait after a lease that came back empty before its time, as a closed buffer's do.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Dispatcher {
    pub(crate) shared: Arc<Shared>,
    /// One for each lane. Each can hold `held_max` chunks, so that sending never waits.
    pub(crate) lanes: Vec<mpsc::Sender<Vec<Envelope>>>,
    pub(crate) backoff: Backoff,
}

/// Leasing works, whatever was before.
fn over(failures: &mut u32) {
    if *failures > 0 {
        tracing::info!(failures = *failures, "leasing works again");
        *failures = 0;
    }
}

impl Dispatcher {
    /// Ends when told to stop; the lanes then see the end of their queues.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut failures = 0;
        self.wait_for_leftover().await;
        while !self.shared.stop.is_cancelled() {
            let Some(room) = self.room().await else { break };
            let (started, wait) = (Instant::now(), self.wait());
            match self.fill(room, wait).await? {
                Ok(0) => {
                    over(&mut failures);
                    if started.elapsed() < wait {
                        self.pause(EMPTY_PAUSE).await;
                    }
                }
                Ok(_) => over(&mut failures),
                Err(error) if error.class() == Class::Retryable => {
                    failures += 1;
                    if is_said(failures) {
                        tracing::warn!(%error, failures, "nothing could be leased; trying again");
                    }
                    let pause = self.backoff.after(failures);
                    self.pause(pause).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// How long the next lease waits.
    fn wait(&self) -> Duration {
        let left = self.shared.clock.until_next(LEASES_END_EVERY);
        if left < LEASE_WAIT_MIN { left + LEASES_END_EVERY } else { left }
    }

    /// Later events must not be leased before those of the same key that the last engine left.
    async fn wait_for_leftover(&mut self) {
        let shared = &*self.shared;
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => {}
            () = shared.leftover.is_back(&*shared.buffer, &mut self.backoff) => {}
        }
    }

    /// Leases up to `room` events and queues them. Returns how many, or why the lease failed.
    async fn fill(
        &self,
        room: usize,
        wait: Duration,
    ) -> Result<Result<usize, buffer::Error>, Error> {
        let _leasing = self.shared.leasing.lock().await;
        let leased = match self.shared.buffer.lease(room, wait).await {
            Ok(leased) => leased,
            Err(error) => return Ok(Err(error)),
        };
        let events = leased.len();
        if events > 0 {
            self.dispatch(leased)?;
        }
        Ok(Ok(events))
    }

    /// How many events may be leased now, once at least one may; `None` when told to stop.
    async fn room(&self) -> Option<usize> {
        let shared = &*self.shared;
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return None,
            permit = shared.room.acquire() => drop(permit),
        }
        let lease_max = shared.options.batch_max * shared.options.lanes;
        Some(shared.room.available_permits().min(lease_max))
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.shared.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    fn dispatch(&self, leased: Vec<Envelope>) -> Result<(), Error> {
        self.shared.room.forget_permits(leased.len());
        let again = leased.iter().filter(|envelope| envelope.attempt > 1).count();
        self.shared.stats.redelivered(again as u64);
        if self.lanes.len() == 1 {
            return self.send(0, leased);
        }
        let share = leased.len() / self.lanes.len();
        let mut chunks: Vec<_> =
            self.lanes.iter().map(|_| Vec::with_capacity(share + share / 4)).collect();
        for envelope in leased {
            chunks[lane_of(&envelope, self.lanes.len())].push(envelope);
        }
        for (lane, chunk) in chunks.into_iter().enumerate() {
            if !chunk.is_empty() {
                self.send(lane, chunk)?;
            }
        }
        Ok(())
    }

    fn send(&self, lane: usize, chunk: Vec<Envelope>) -> Result<(), Error> {
        self.shared.held[lane].add(&chunk);
        // The queue is never full: it takes as many chunks as there may be events held. A lane that
        // is gone has failed, and its failure is what the engine stops with.
        match self.lanes[lane].try_send(chunk) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(Error::Broken(format!("the queue of lane {lane} is full")))
            }
        }
    }
}

/// What an event keeps order with: its key; its id when it has none, for then it keeps order with
/// nothing.
pub(crate) fn order_key(envelope: &Envelope) -> &[u8] {
    match envelope.event.key() {
        [] => envelope.event.id(),
        key => key,
    }
}

/// The lane of an event's key.
fn lane_of(envelope: &Envelope, lanes: usize) -> usize {
    let lane = fnv1a(order_key(envelope)) % lanes as u64;
    usize::try_from(lane).expect("it is less than the number of lanes")
}

/// FNV-1a, 64 bits (draft-eastlake-fnv). Fixed, so that a key's lane does not depend on the build.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use buffer::Receipt;
    use model::Event;

    use super::*;

    fn envelope(id: &str, key: &str) -> Envelope {
        let event = Event::new(id.as_bytes(), key.as_bytes(), b"").unwrap();
        let receipt = Receipt { seq: 0, epoch: 1 };
        Envelope { receipt, accepted_at_ms: 0, attempt: 1, term: 0, shard: None, event }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn keys_spread_evenly_and_stay_where_they_are() {
        for lanes in [2, 8] {
            let mut counts = vec![0usize; lanes];
            for n in 0..8000 {
                let key = format!("4000-{n:012}");
                let lane = lane_of(&envelope("a", &key), lanes);
                assert_eq!(lane, lane_of(&envelope("b", &key), lanes));
                counts[lane] += 1;
            }
            let fair = 8000 / lanes;
            assert!(counts.iter().all(|n| n.abs_diff(fair) < fair / 10), "{counts:?}");
        }
    }

    #[test]
    fn events_without_a_key_spread_by_id() {
        let lanes: std::collections::BTreeSet<usize> =
            (0..100).map(|n| lane_of(&envelope(&format!("tx-{n}"), ""), 4)).collect();
        assert_eq!(lanes.len(), 4);
    }
}
