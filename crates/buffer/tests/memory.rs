//! The memory backend against the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buffer::Buffer;
use buffer::conformance::{Lacks, Limits, Subject};
use buffer::memory::{Memory, Options};
use model::clock::Manual;

const LEASE_MS: i64 = 1000;
const LIMITS: Limits = Limits { events_max: 500, lease_ms: LEASE_MS.unsigned_abs(), dead_max: 10 };

struct InMemory(Manual);

#[async_trait]
impl Subject for InMemory {
    async fn open(&self) -> Arc<dyn Buffer> {
        let Limits { events_max, dead_max, .. } = LIMITS;
        let options = Options { events_max, lease_ms: LEASE_MS, dead_max, ..Options::default() };
        Arc::new(Memory::new(options, Arc::new(self.0.clone())))
    }

    async fn advance(&self, by_ms: u64) {
        self.0.advance(i64::try_from(by_ms).expect("tests step by little"));
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn lacks(&self) -> Lacks {
        Lacks { erasing: true, ..Lacks::default() }
    }
}

buffer::conformance!(InMemory(Manual::at(1_700_000_000_000)));

#[tokio::test]
async fn setting_the_wall_clock_does_not_move_the_end_of_a_lease_or_a_delay() {
    const HOUR_MS: i64 = 3_600_000;
    for set_by_ms in [-HOUR_MS, HOUR_MS] {
        let clock = Manual::at(10 * HOUR_MS);
        let options = Options { lease_ms: LEASE_MS, ..Options::default() };
        let memory = Memory::new(options, Arc::new(clock.clone()));
        let event = |id: &[u8]| model::Event::new(id, b"key", b"{}").expect("it is small");
        memory.offer(&[event(b"leased"), event(b"delayed")]).await.expect("there is room");
        let held = memory.lease(10, Duration::ZERO).await.expect("it is open");
        let delay = Duration::from_millis(LEASE_MS.unsigned_abs());
        memory.release(&[held[1].receipt], delay).await.expect("it is open");
        clock.set_wall(set_by_ms);
        for (after_ms, leased, ready) in [(LEASE_MS - 1, 1, 0), (1, 0, 2)] {
            clock.advance(after_ms);
            assert_eq!(memory.depth().await.expect("it is open").leased, leased);
            let again = memory.lease(10, Duration::ZERO).await.expect("it is open");
            assert_eq!(again.len(), ready, "set by {set_by_ms} ms");
        }
    }
}
