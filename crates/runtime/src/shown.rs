//! What runs, what it is to do, and how a move went: as lines for a person, as JSON for a script.
//!
//! What it deliberately does not do: it prints nothing, and asks only the store, beside the processes that run.

pub mod audit;
pub mod look;
pub mod pipelines;
pub mod processes;
pub mod shards;

use std::time::Duration;

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
