//! What became of a run.

use std::time::Duration;

use crate::sink::{Error, Offered};

/// What became of a run, or of a run so far. Counts are of events, each counted once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Made and offered at least once.
    pub offered: u64,
    /// Durable, as the sink said.
    pub accepted: u64,
    /// Dropped after a refusal.
    pub refused: u64,
    /// Bad, as the sink said.
    pub rejected: u64,
    /// Offered, and given up with nothing known of what became of them.
    pub unknown: u64,
    /// Refusals answered by offering again later, counted each time.
    pub retried: u64,
    /// Due, but never made: the run was over before their turn came.
    pub unoffered: u64,
    /// How long it took.
    pub duration: Duration,
    /// Events a second asked for: the mean of the plan.
    pub target_tps: f64,
    /// Events a second offered.
    pub achieved_tps: f64,
    /// Whether what was offered kept up with the schedule: within
    /// [`RATE_TOLERANCE`](super::RATE_TOLERANCE) of what was due by then.
    pub held: bool,
    /// How long after it was due the latest event was offered, in milliseconds.
    pub late_ms_max: f64,
    /// Why it ended before its time, if the sink could not be used any more.
    pub failure: Option<Error>,
}

impl Outcome {
    /// Adds one answer; the refused are counted only if they are `dropped`.
    pub(super) fn add(&mut self, offered: &Offered, dropped: bool) {
        self.accepted += offered.accepted as u64;
        self.rejected += offered.rejected as u64;
        if dropped {
            self.refused += offered.refused as u64;
        } else {
            self.retried += offered.refused as u64;
        }
    }
}
