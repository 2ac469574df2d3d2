//! While nothing fails, it is a buffer like any other.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Buffer;
use buffer::conformance::{Lacks, Limits, Subject};
use buffer::memory::{Memory, Options};
use buffer::spill::Spill;
use model::clock::Manual;

const LEASE_MS: i64 = 1000;
const LIMITS: Limits = Limits { events_max: 500, lease_ms: LEASE_MS.unsigned_abs(), dead_max: 10 };

struct Spilling(Manual);

#[async_trait]
impl Subject for Spilling {
    async fn open(&self) -> Arc<dyn Buffer> {
        let Limits { events_max, dead_max, .. } = LIMITS;
        let options = Options { events_max, lease_ms: LEASE_MS, dead_max, ..Options::default() };
        let memory = |options| Arc::new(Memory::new(options, Arc::new(self.0.clone())));
        let (primary, local) = (memory(options), memory(Options::default()));
        Arc::new(Spill::new(primary, local, Arc::new(self.0.clone())))
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

buffer::conformance!(Spilling(Manual::at(1_700_000_000_000)));
