//! The memory backend against the conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Buffer;
use buffer::conformance::{Limits, Subject};
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
}

buffer::conformance!(InMemory(Manual::at(1_700_000_000_000)));
