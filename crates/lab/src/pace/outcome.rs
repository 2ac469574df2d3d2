//! What became of a run.

use std::fmt;
use std::time::Duration;

use model::units::grouped;

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

impl fmt::Display for Outcome {
    /// What became of the run, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered, accepted, refused, rejected, retried, unknown, .. } = self;
        let held = if self.held { "held" } else { "NOT HELD" };
        write!(
            f,
            "offered {} in {:.1} s: {:.0}/s of {:.0}/s asked for, {held}; accepted {}, refused {}, \
             rejected {}, offered again {}, unknown {}, at most {:.0} ms late",
            grouped(*offered),
            self.duration.as_secs_f64(),
            self.achieved_tps,
            self.target_tps,
            grouped(*accepted),
            grouped(*refused),
            grouped(*rejected),
            grouped(*retried),
            grouped(*unknown),
            self.late_ms_max,
        )
    }
}
