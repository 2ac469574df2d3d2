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
//! What it deliberately does not do: it reads no store and no configuration, and assumes no speed of anything.
//! What a process can do is measured from its own history, or is not known; the one figure that is set is where
//! a single Redis ends.

mod capacity;
mod cost;
mod options;
mod seen;
mod shown;
mod verdict;

pub use capacity::Capacity;
pub use cost::{HOURS_A_MONTH, Layout, Prices};
pub use options::Options;
pub use seen::{Minute, Seen};
pub use shown::{Report, next};
pub use verdict::{Advice, Place, Rule, Thresholds, Verdict, decide};
