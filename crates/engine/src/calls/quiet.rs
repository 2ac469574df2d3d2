//! Calls that the last holder of an event may have left under way.
//!
//! A new holder may get an event at once: leases of a journal and of Kafka live in the memory of a process, and Redis
//! ends the delays of a shard that changes hands. A call of the last holder may still have its effect then. So a new
//! holder calls none of these events before one call time-out has passed. An event that no process had before is
//! called at once, where the buffer can tell.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buffer::{Envelope, Kind};
use model::clock::{Clock, EpochMs};
use tokio::time::Instant;

/// Since when this process has had each part of a buffer. Shared by the engines of one pipeline.
#[derive(Default)]
pub(crate) struct Quiet(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the first engine of the pipeline began.
    begun: Option<(Instant, EpochMs)>,
    /// Which term of each shard this process has, and since when.
    shards: HashMap<u32, (u64, Instant)>,
}

impl Quiet {
    /// An engine begins.
    pub(crate) fn begin(&self, clock: &dyn Clock) {
        self.state().begun.get_or_insert_with(|| (Instant::now(), clock.now_ms()));
    }

    /// Until when this event, which was leased at `leased`, is not called, if that is later than now.
    pub(crate) fn until(
        &self,
        envelope: &Envelope,
        leased: Instant,
        kind: &Kind,
        longest: Duration,
    ) -> Option<Instant> {
        let dies_with_process = !kind.durable && !kind.shared;
        let is_first = kind.counts_leases && envelope.attempt == 1;
        if dies_with_process || is_first {
            return None;
        }
        let now = Instant::now();
        let mut state = self.state();
        let since = match envelope.shard {
            Some(shard) => {
                let held = state.shards.entry(shard).or_insert((envelope.term, now));
                if held.0 != envelope.term {
                    *held = (envelope.term, now);
                }
                held.1
            }
            // Any process may have had it just before.
            None if kind.shared => leased,
            None => {
                let (begun, begun_ms) = state.begun?;
                if envelope.accepted_at_ms >= begun_ms {
                    return None;
                }
                begun
            }
        };
        Some(since + longest).filter(|until| *until > now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn envelope(shard: Option<u32>, term: u64) -> Envelope {
        let event = Event::new(b"id", b"key", b"").unwrap();
        let receipt = Receipt { seq: 1, epoch: 1 };
        Envelope { receipt, accepted_at_ms: START_MS, attempt: 1, term, shard, event }
    }

    fn kind(shared: bool) -> Kind {
        Kind { name: "test", survives: "all", durable: true, shared, counts_leases: false }
    }

    /// How long an event waits that was leased now.
    fn wait(quiet: &Quiet, envelope: &Envelope, kind: &Kind) -> Option<Duration> {
        let now = Instant::now();
        quiet.until(envelope, now, kind, LONGEST).map(|until| until - now)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_accepted_before_this_process_waits_once_and_what_came_later_does_not() {
        let quiet = Quiet::default();
        quiet.begin(&Manual::at(START_MS));
        let wait = |accepted_at_ms| {
            wait(&quiet, &Envelope { accepted_at_ms, ..envelope(None, 0) }, &kind(false))
        };
        assert_eq!(wait(START_MS - 1), Some(LONGEST));
        tokio::time::advance(LONGEST / 2).await;
        // The next engine of this process is no new holder.
        quiet.begin(&Manual::at(START_MS + 9_000));
        assert_eq!(wait(START_MS - 1), Some(LONGEST / 2));
        assert_eq!(wait(START_MS), None, "though it is the first that came");
        tokio::time::advance(LONGEST / 2).await;
        assert_eq!(wait(START_MS - 1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_changes_hands_waits_again_and_no_other_does() {
        let quiet = Quiet::default();
        let wait = |shard, term| wait(&quiet, &envelope(Some(shard), term), &kind(true));
        assert!(wait(1, 7).is_some() && wait(2, 7).is_some());
        tokio::time::advance(LONGEST).await;
        assert_eq!((wait(1, 7), wait(1, 8)), (None, Some(LONGEST)));
        assert_eq!(wait(2, 7), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_whose_key_has_no_owner_waits_from_its_own_lease_alone() {
        let quiet = Quiet::default();
        let leased = Instant::now();
        let until = |term| quiet.until(&envelope(None, term), leased, &kind(true), LONGEST);
        assert_eq!(until(1), Some(leased + LONGEST));
        tokio::time::advance(LONGEST / 2).await;
        assert_eq!(
            until(2),
            Some(leased + LONGEST),
            "a later lease of another event changes nothing"
        );
        tokio::time::advance(LONGEST / 2).await;
        assert_eq!(until(1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_no_process_had_before_does_not_wait_where_leases_are_counted() {
        let quiet = Quiet::default();
        let kind = Kind { counts_leases: true, ..kind(true) };
        for shard in [None, Some(1)] {
            let again = Envelope { attempt: 2, ..envelope(shard, 1) };
            assert_eq!(wait(&quiet, &envelope(shard, 1), &kind), None);
            assert_eq!(wait(&quiet, &again, &kind), Some(LONGEST));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_die_with_their_process_do_not_wait() {
        let quiet = Quiet::default();
        quiet.begin(&Manual::at(START_MS + 1));
        assert!(wait(&quiet, &envelope(None, 0), &kind(false)).is_some());
        assert_eq!(wait(&quiet, &envelope(None, 0), &Kind { durable: false, ..kind(false) }), None);
    }
}
