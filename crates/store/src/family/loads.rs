//! The `load_history` table: what a process had to do, one row for each interval and pipeline.

use async_trait::async_trait;
use model::clock::EpochMs;

use super::pipelines;
use crate::Error;

/// The longest process, list of roles or kind of a buffer, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;

/// What one pipeline of one process did in one interval, a minute as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// When the interval began, a multiple of its length: those of several processes are the same.
    pub started_at_ms: EpochMs,
    /// How long the process was looked at in it, in milliseconds; at least 1.
    pub span_ms: u64,
    /// Which process: its id, as in the table `processes`.
    pub process: String,
    /// What it does, as `--roles` has it.
    pub roles: String,
    /// Which pipeline, e.g. `consumer_batch`.
    pub pipeline: String,
    /// The buffer's kind, e.g. `journal`.
    pub buffer: String,
    /// Lanes that settle; of a pipeline of calls, how many may be under way at once.
    pub lanes: u32,
    /// Most events of one batch; 1 of a pipeline of calls.
    pub batch_max: u32,
    /// Events whose effect this process put into the store.
    pub settled: u64,
    /// Events it was done with: settled, there already, or buried.
    pub finished: u64,
    /// Batches these came in; 0 of a pipeline of calls.
    pub batches: u64,
    /// Attempts at a batch or a call that failed.
    pub failed: u64,
    /// Most events of one second: of those that came in, where the process has the buffer to
    /// itself; of those it was done with, where others take from it too.
    pub peak_per_s: u64,
    /// How long all lanes together were settling, in milliseconds; of calls, the time of all together.
    pub worked_ms: u64,
    /// How long the busiest lane was; of calls, the time of all divided by `lanes`.
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
    /// [`Error::Rejected`] when a text or a figure is out of bounds; or if it can't be written. Then nothing
    /// is deleted.
    async fn record(&self, load: Load, forget_before_ms: EpochMs) -> Result<(), Error>;
}

/// Checks the texts that every adapter is given.
///
/// # Errors
/// [`Error::Rejected`], which names the first one out of bounds.
pub fn check(load: &Load) -> Result<(), Error> {
    pipelines::check_name(&load.pipeline)?;
    for (part, text) in
        [("process", &load.process), ("roles", &load.roles), ("buffer", &load.buffer)]
    {
        if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            return Err(Error::Rejected(format!(
                "the {part} of a load must be at most {TEXT_BYTES_MAX} bytes without a NUL"
            )));
        }
    }
    Ok(())
}
