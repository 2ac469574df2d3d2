//! Calls that the last holder of an event may have left under way.
//!
//! A new holder may get an event at once: leases of a journal and of Kafka live in the memory of a process, and Redis
//! ends the delays of a shard that changes hands. A call of the last holder may still have its effect then. So a new
//! holder calls none of these events before one call time-out has passed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use buffer::{Envelope, Kind};
use model::clock::{Clock, EpochMs};
use tokio::time::Instant;

/// Since when this process has had each part of a buffer. Shared by the engines of one pipeline.
#[derive(Default)]
pub(crate) struct Quiet(Mutex<HashMap<Option<u32>, Held>>);

#[derive(Clone, Copy)]
struct Held {
    term: u64,
    since: Instant,
    since_ms: EpochMs,
}

impl Quiet {
    /// Until when this event is not called, if that is later than now.
    pub(crate) fn until(
        &self,
        envelope: &Envelope,
        kind: &Kind,
        clock: &dyn Clock,
        longest: Duration,
    ) -> Option<Instant> {
        let dies_with_process = !kind.durable && !kind.shared;
        if dies_with_process {
            return None;
        }
        let now = Instant::now();
        let new = Held { term: envelope.term, since: now, since_ms: clock.now_ms() };
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = parts.entry(envelope.shard).or_insert(new);
        if held.term != envelope.term {
            *held = new;
        }
        // Of a buffer that other processes have, too, the time of acceptance is by another clock.
        let is_newer = !kind.shared && envelope.accepted_at_ms >= held.since_ms;
        let until = held.since + longest;
        (until > now && !is_newer).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use buffer::Receipt;
    use model::Event;
    use model::clock::Manual;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);
    const START_MS: EpochMs = 1_000_000;

    fn envelope(accepted_at_ms: EpochMs, shard: Option<u32>, term: u64) -> Envelope {
        let event = Event::new(b"id", b"key", b"").unwrap();
        let receipt = Receipt { seq: 1, epoch: 1 };
        Envelope { receipt, accepted_at_ms, attempt: 1, term, shard, event }
    }

    fn kind(shared: bool) -> Kind {
        Kind { name: "test", survives: "all", durable: true, shared }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_accepted_before_this_process_waits_once_and_what_came_later_does_not() {
        let (quiet, clock) = (Quiet::default(), Manual::at(START_MS));
        let until = |accepted_at_ms| {
            quiet.until(&envelope(accepted_at_ms, None, 0), &kind(false), &clock, LONGEST)
        };
        let start = Instant::now();
        assert_eq!(until(START_MS - 1), Some(start + LONGEST));
        assert_eq!(until(START_MS), None);
        tokio::time::advance(LONGEST).await;
        assert_eq!(until(START_MS - 1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_changes_hands_waits_again_and_no_other_does() {
        let (quiet, clock) = (Quiet::default(), Manual::at(START_MS));
        let until = |shard, term| {
            quiet.until(&envelope(START_MS + 9, Some(shard), term), &kind(true), &clock, LONGEST)
        };
        assert!(until(1, 7).is_some() && until(2, 7).is_some());
        tokio::time::advance(LONGEST).await;
        assert_eq!((until(1, 7), until(1, 8)), (None, Some(Instant::now() + LONGEST)));
        assert_eq!(until(2, 7), None);
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_die_with_their_process_do_not_wait() {
        let (quiet, clock) = (Quiet::default(), Manual::at(START_MS));
        let until = |kind: &Kind| quiet.until(&envelope(0, None, 0), kind, &clock, LONGEST);
        assert_eq!(until(&Kind { durable: false, ..kind(false) }), None);
    }
}
