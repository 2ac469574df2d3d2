//! The journal backend against the conformance suite, on the real disk.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Buffer;
use buffer::conformance::{Limits, Subject};
use buffer_journal::{JournalBuffer, Options};
use model::clock::Manual;
use tempfile::TempDir;

const LIMITS: Limits = Limits { events_max: 500, lease_ms: 1000, dead_max: 10 };

struct OnDisk {
    dir: TempDir,
    clock: Manual,
}

impl OnDisk {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), clock: Manual::at(1_700_000_000_000) }
    }
}

#[async_trait]
impl Subject for OnDisk {
    async fn open(&self) -> Arc<dyn Buffer> {
        let options = Options {
            events_max: LIMITS.events_max as u64,
            lease_ms: i64::try_from(LIMITS.lease_ms).unwrap(),
            dead_max: LIMITS.dead_max,
            ..Options::new(self.dir.path())
        };
        Arc::new(JournalBuffer::open(options, Arc::new(self.clock.clone())).unwrap().0)
    }

    async fn advance(&self, by_ms: u64) {
        self.clock.advance(i64::try_from(by_ms).unwrap());
    }

    fn limits(&self) -> Limits {
        LIMITS
    }
}

buffer::conformance!(durable OnDisk::new());
