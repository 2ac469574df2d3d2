//! The `load_history` table: what a process had to do, one row for each interval and pipeline.

use async_trait::async_trait;
use model::clock::EpochMs;

use crate::Error;

/// What one pipeline of one process did in one interval, a minute as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// When the interval began, a multiple of its length: those of several processes are the same.
    pub started_at_ms: EpochMs,
    /// How long the process was looked at in it, in milliseconds; at least 1.
    pub span_ms: u64,
    /// Which process: the host's name and the process's id.
    pub process: String,
    /// What it does, as `--roles` has it.
    pub roles: String,
    /// Which pipeline, e.g. `consumer_batch`.
    pub pipeline: String,
    /// The buffer's kind, e.g. `journal`.
    pub buffer: String,
    /// Lanes that settle.
    pub lanes: u32,
    /// Most events of one batch.
    pub batch_max: u32,
    /// Events whose effect this process put into the store.
    pub settled: u64,
    /// Events it was done with: settled, there already, or buried.
    pub finished: u64,
    /// Batches these came in.
    pub batches: u64,
    /// Attempts at a batch that failed.
    pub failed: u64,
    /// Most events of one second: of those that came in, where the process has the buffer to
    /// itself; of those it was done with, where others take from it too.
    pub peak_per_s: u64,
    /// How long all lanes together were settling, in milliseconds.
    pub worked_ms: u64,
    /// How long the busiest lane was.
    pub worked_ms_max: u64,
    /// Events in the buffer, ready and leased, at the first look.
    pub backlog_first: u64,
    /// The same, at the last look.
    pub backlog_last: u64,
    /// The most of them.
    pub backlog_max: u64,
    /// Most that the oldest of them had waited, in milliseconds.
    pub oldest_age_ms_max: u64,
}

/// Records loads.
#[async_trait]
pub trait Loads: Send + Sync + 'static {
    /// Adds one record, and deletes all that began before `forget_before_ms`.
    ///
    /// # Errors
    /// If it can't be written; then nothing is deleted.
    async fn record(&self, load: Load, forget_before_ms: EpochMs) -> Result<(), Error>;
}
