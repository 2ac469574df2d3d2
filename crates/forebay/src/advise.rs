//! Which buffer a load belongs on, from what was seen of it, and what that costs.
//!
//! ```text
//!  load_history ──► Seen (rates, busiest minute) ─┐
//!             └───► Capacity (of one process) ────┼──► decide ──► Verdict ──► Layout × Prices
//!                                    Thresholds ──┘
//! ```
//!
//! All of it is pure: the same rows and settings give the same advice.
//!
//! What it deliberately does not do: it assumes no speed of anything. What a process can do is measured
//! from its own history, or is not known; the one figure that is set is where a single Redis ends.

mod capacity;
mod cost;
mod seen;
mod shown;
mod verdict;

pub(crate) use capacity::Capacity;
pub(crate) use cost::{HOURS_A_MONTH, Layout, Prices};
pub(crate) use seen::{Minute, Seen};
pub(crate) use shown::{Report, next};
pub(crate) use verdict::{Advice, Place, Thresholds, Verdict, decide};

/// What is configured under `[advise]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) thresholds: Thresholds,
    pub(crate) prices: Prices,
}
