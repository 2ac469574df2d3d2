//! A pipeline at work in this process, as a run, a replay and a bench see it.

use std::sync::Arc;

use buffer::Buffer;
use engine::Stats;
use runtime::Source;
use tokio_util::sync::CancellationToken;

/// See the module. Clones see the same pipeline.
#[derive(Clone)]
pub struct AtWork {
    source: Source,
    ended: CancellationToken,
}

impl AtWork {
    /// The pipeline of `source`. `ended` is cancelled when nothing is settled any more.
    #[must_use]
    pub fn new(source: Source, ended: CancellationToken) -> Self {
        Self { source, ended }
    }

    /// Where to offer.
    #[must_use]
    pub fn buffer(&self) -> &Arc<dyn Buffer> {
        &self.source.buffer
    }

    /// What the engine has done so far.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.source.stats
    }

    /// Cancelled when nothing is settled any more: by itself only when the engine can't go on.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Resolves when nothing is left to settle, or nothing is settled any more.
    pub async fn drained(&self) {
        self.ended.run_until_cancelled(self.source.drained()).await;
    }
}
