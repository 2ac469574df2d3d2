//! Records what was finished: one completion for each interval in which something was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::clock::EpochMs;
use store::{Completion, Completions};
use tokio_util::sync::CancellationToken;

/// What was finished since the last record.
pub(crate) struct Progress {
    pipeline: Arc<str>,
    open: Mutex<Option<Completion>>,
}

impl Progress {
    pub(crate) fn new(pipeline: Arc<str>) -> Self {
        Self { pipeline, open: Mutex::new(None) }
    }

    /// Adds a stretch of finished work, if anything was finished in it.
    pub(crate) fn add(
        &self,
        started_at_ms: EpochMs,
        completed_at_ms: EpochMs,
        settled: u64,
        duplicates: u64,
        dead: u64,
    ) {
        if settled + duplicates + dead == 0 {
            return;
        }
        let pipeline = self.pipeline.clone();
        self.merge(Completion {
            pipeline,
            started_at_ms,
            completed_at_ms,
            settled,
            duplicates,
            dead,
        });
    }

    fn merge(&self, more: Completion) {
        let mut open = self.open();
        *open = Some(match open.take() {
            None => more,
            Some(sum) => Completion {
                pipeline: self.pipeline.clone(),
                started_at_ms: sum.started_at_ms.min(more.started_at_ms),
                completed_at_ms: sum.completed_at_ms.max(more.completed_at_ms),
                settled: sum.settled + more.settled,
                duplicates: sum.duplicates + more.duplicates,
                dead: sum.dead + more.dead,
            },
        });
    }

    fn open(&self) -> MutexGuard<'_, Option<Completion>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records at each interval until the engine has ended, and then once more.
pub(crate) async fn run(
    progress: Arc<Progress>,
    completions: Arc<dyn Completions>,
    interval: Duration,
    ended: CancellationToken,
) {
    loop {
        let last = tokio::select! {
            () = ended.cancelled() => true,
            () = tokio::time::sleep(interval) => false,
        };
        record(&progress, &*completions).await;
        if last {
            return;
        }
    }
}

/// A record that can't be written is no reason to stop settling: it is merged into the next one.
async fn record(progress: &Progress, completions: &dyn Completions) {
    let Some(completion) = progress.open().take() else { return };
    if let Err(error) = completions.complete(completion.clone()).await {
        let pipeline = &*progress.pipeline;
        tracing::warn!(pipeline, %error, "a completion could not be recorded; the next one includes it");
        progress.merge(completion);
    }
}
