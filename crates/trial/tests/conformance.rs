//! The backend against the conformance suite. It lacks nothing of what a buffer promises that survives nothing, but
//! that it leaves no mark once it is erased.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Buffer;
use buffer::conformance::{Lacks, Limits, Subject};
use model::clock::Manual;
use tempfile::TempDir;
use trial::{FolderBuffer, Options};

const LIMITS: Limits = Limits { events_max: 500, lease_ms: 1_000, dead_max: 10 };

struct InFolder(TempDir, Manual);

impl InFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Manual::at(1_700_000_000_000))
    }
}

#[async_trait]
impl Subject for InFolder {
    async fn open(&self) -> Arc<dyn Buffer> {
        let Limits { events_max, dead_max, lease_ms } = LIMITS;
        let (folder, lease_ms) = (self.0.path().to_owned(), i64::try_from(lease_ms).unwrap());
        let options = Options { folder, events_max, dead_max, lease_ms };
        Arc::new(FolderBuffer::open(&options, Arc::new(self.1.clone())).await.unwrap())
    }

    async fn advance(&self, by_ms: u64) {
        self.1.advance(i64::try_from(by_ms).unwrap());
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn lacks(&self) -> Lacks {
        Lacks { erasing: true, ..Lacks::default() }
    }
}

buffer::conformance!(InFolder::new());
