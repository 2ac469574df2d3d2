//! Deadlines of leases and of delays follow the time that passes, not the wall clock.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use buffer::Buffer;
use buffer_journal::{JournalBuffer, Options};
use journal::fs::sim::Sim;
use model::Event;
use model::clock::Manual;

const HOUR_MS: i64 = 3_600_000;
const LEASE_MS: i64 = 1000;

/// A journal with one event.
async fn open(clock: &Manual) -> JournalBuffer {
    let options = Options { checkpoint_ms: 0, lease_ms: LEASE_MS, ..Options::new("j") };
    let sim = Arc::new(Sim::new(1));
    let (journal, _) = JournalBuffer::open_on(sim, options, Arc::new(clock.clone())).unwrap();
    journal.offer(&[Event::new(b"id", b"key", b"{}").unwrap()]).await.unwrap();
    journal
}

async fn lease(journal: &JournalBuffer) -> Vec<buffer::Receipt> {
    let leased = journal.lease(10, Duration::ZERO).await.unwrap();
    leased.iter().map(|envelope| envelope.receipt).collect()
}

#[tokio::test]
async fn setting_the_wall_clock_does_not_move_the_end_of_a_delay() {
    for set_by_ms in [-HOUR_MS, HOUR_MS] {
        let clock = Manual::at(10 * HOUR_MS);
        let journal = open(&clock).await;
        let held = lease(&journal).await;
        journal.release(&held, Duration::from_secs(1)).await.unwrap();
        clock.set_wall(set_by_ms);
        clock.advance(999);
        assert!(lease(&journal).await.is_empty(), "set by {set_by_ms} ms: 1 s has not passed");
        clock.advance(1);
        assert_eq!(lease(&journal).await.len(), 1, "set by {set_by_ms} ms: 1 s has passed");
    }
}

#[tokio::test]
async fn setting_the_wall_clock_does_not_move_the_end_of_a_lease() {
    for set_by_ms in [-HOUR_MS, HOUR_MS] {
        for extended in [false, true] {
            let clock = Manual::at(10 * HOUR_MS);
            let journal = open(&clock).await;
            let held = lease(&journal).await;
            if extended {
                let by = Duration::from_millis(LEASE_MS.unsigned_abs());
                journal.extend(&held, by).await.unwrap();
            }
            clock.set_wall(set_by_ms);
            clock.advance(LEASE_MS - 1);
            assert_eq!(journal.depth().await.unwrap().leased, 1, "set by {set_by_ms} ms");
            assert!(lease(&journal).await.is_empty(), "set by {set_by_ms} ms");
            clock.advance(1);
            assert_eq!(journal.depth().await.unwrap().leased, 0, "set by {set_by_ms} ms");
            assert_eq!(lease(&journal).await.len(), 1, "set by {set_by_ms} ms");
        }
    }
}
