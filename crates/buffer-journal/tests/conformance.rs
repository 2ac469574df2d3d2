//! The journal backend against the conformance suite, on the real disk.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use async_trait::async_trait;
use buffer::conformance::{Limits, Subject};
use buffer::{Buffer, Error};
use buffer_journal::{JournalBuffer, Key, Options};
use model::clock::Manual;
use tempfile::TempDir;

const LIMITS: Limits = Limits { events_max: 500, lease_ms: 1000, dead_max: 10 };

struct OnDisk {
    dir: TempDir,
    clock: Manual,
    key: Key,
}

impl OnDisk {
    fn new() -> Self {
        let (dir, clock) = (TempDir::new().unwrap(), Manual::at(1_700_000_000_000));
        Self { dir, clock, key: Key::None }
    }

    fn encrypted() -> Self {
        let plain = Self::new();
        let path = plain.dir.path().join("key");
        let mut file = OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(&[b'5'; 64]).unwrap();
        Self { key: Key::File(path), ..plain }
    }

    fn options(&self) -> Options {
        Options {
            events_max: LIMITS.events_max as u64,
            lease_ms: i64::try_from(LIMITS.lease_ms).unwrap(),
            dead_max: LIMITS.dead_max,
            key: self.key.clone(),
            ..Options::new(self.dir.path())
        }
    }
}

#[async_trait]
impl Subject for OnDisk {
    async fn open(&self) -> Arc<dyn Buffer> {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Arc<dyn Buffer>, Error> {
        let clock = Arc::new(self.clock.clone());
        Ok(Arc::new(JournalBuffer::open(self.options(), clock)?.0))
    }

    async fn erase(&self) -> Result<(), Error> {
        buffer_journal::erase(&self.options()).await
    }

    async fn advance(&self, by_ms: u64) {
        self.clock.advance(i64::try_from(by_ms).unwrap());
    }

    fn limits(&self) -> Limits {
        LIMITS
    }
}

buffer::conformance!(durable OnDisk::new());

mod encrypted {
    use super::*;

    buffer::conformance!(durable OnDisk::encrypted());
}
