//! What the owner of a running engine holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::{Counts, Error, Stats, Work};

/// How often a drain looks at the buffer, once no lane holds anything.
const DRAINED_POLL: Duration = Duration::from_millis(20);

/// A running engine. Dropping it stops nothing: the shutdown token does.
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) supervisor: JoinHandle<Result<Summary, Error>>,
}

/// What an engine did between its start and its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// All that was counted.
    pub counts: Counts,
    /// Events that were held at the end and went back to the buffer.
    pub released: u64,
}

impl Handle {
    /// Waits for the engine to end: after the shutdown token is cancelled, or by itself.
    ///
    /// # Errors
    /// If the engine stopped by itself: its handler or its buffer can't go on. What it held went
    /// back to the buffer.
    pub async fn join(self) -> Result<Summary, Error> {
        match self.supervisor.await {
            Ok(ended) => ended,
            Err(error) => Err(Error::Broken(error.to_string())),
        }
    }

    /// Cancel it to end the engine at once: what is held goes back to the buffer.
    #[must_use]
    pub fn abandon(&self) -> CancellationToken {
        self.shared.abandon.clone()
    }

    /// The engine's counts, which go on living after it has ended.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// How much the engine has worked.
    #[must_use]
    pub fn work(&self) -> Work {
        Work(Arc::clone(&self.shared.load))
    }

    /// What is left to settle.
    #[must_use]
    pub fn probe(&self) -> Probe {
        Probe(Arc::clone(&self.shared))
    }

    /// Resolves as [`Probe::drained`] does.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let probe = self.probe();
        async move { probe.drained().await }
    }
}

/// Looks at what an engine has left to settle. Clones look at the same.
#[derive(Clone)]
pub struct Probe(Arc<Shared>);

impl Probe {
    /// Resolves when the buffer has nothing ready or leased and no lane holds anything, or when the
    /// engine has ended. It looks every 20 ms.
    pub async fn drained(&self) {
        while !self.is_drained().await {
            tokio::select! {
                () = self.0.ended.cancelled() => return,
                () = tokio::time::sleep(DRAINED_POLL) => {}
            }
        }
    }

    /// Whether the buffer has nothing ready or leased, and no lane holds anything.
    pub async fn is_drained(&self) -> bool {
        let shared = &self.0;
        if !shared.is_idle() {
            return false;
        }
        match shared.buffer.depth().await {
            // Looked at again afterwards: what was leased in between is no longer in the depth once it
            // is acked, and may not have been counted yet.
            Ok(depth) => depth.ready + depth.leased == 0 && shared.is_idle(),
            Err(error) => {
                tracing::warn!(%error, "the buffer's depth can't be read; trying again");
                false
            }
        }
    }
}
