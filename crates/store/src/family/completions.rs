//! The `pipeline_completion_log` table: what a pipeline finished, and when.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;

use crate::Error;

/// One stretch of finished work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Which pipeline, e.g. `consumer_batch`.
    pub pipeline: Arc<str>,
    /// When the first of it was begun.
    pub started_at_ms: EpochMs,
    /// When the last of it was settled.
    pub completed_at_ms: EpochMs,
    /// Events settled.
    pub settled: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Events buried.
    pub dead: u64,
}

/// Records completions.
#[async_trait]
pub trait Completions: Send + Sync + 'static {
    /// Adds one record.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the name of the pipeline is out of bounds; or if it can't be written.
    async fn complete(&self, completion: Completion) -> Result<(), Error>;
}
