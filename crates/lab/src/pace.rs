//! Events in time: an open loop.
//!
//! The schedule says when each event is due, whatever becomes of the ones before it. When the sink
//! is slower than the schedule, what is overdue is offered as fast as the sink takes it, and the
//! outcome says that the rate was not held and how late the latest event was. Nothing is slowed
//! down in silence, because a producer that waits for the consumer measures nothing.
//!
//! Deliberately absent: several offers in flight. Batches grow with the backlog instead, so one is
//! enough for any sink that takes batches.
//!
//! Invariants
//! - An event's event time is that of the schedule, not that of its offer: the same plan and seed
//!   make the same stream on a slow machine and on a fast one.
//! - `offered + unoffered` is the plan's total, unless it was stopped early.

mod outcome;
mod profile;
mod run;
#[cfg(test)]
mod tests;

pub use outcome::Outcome;
pub use profile::Profile;
pub use run::{OUTAGE_MAX, OnRefusal, PAUSE_MIN, Plan, RATE_TOLERANCE, run, unpaced};
