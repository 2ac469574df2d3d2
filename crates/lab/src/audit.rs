//! Did every accepted event take effect exactly once?
//!
//! The [`Ledger`] is what the producer's side knows: what it offered, and what it was told was
//! accepted. The [`Audit`] holds against it what is found elsewhere: rows of the store, read
//! through a connection of its own, and the ids on the buffer's medium. Nothing in it is a counter
//! that the pipeline keeps: a pipeline that loses events may well count them.
//!
//! What counts as a violation
//! - lost: accepted, and neither settled nor pending nor dead.
//! - double effect: a second row for a `tx_id`; a row that says something else than was offered; a
//!   row nobody offered (where the store began empty); an id both settled and dead.
//!
//! Deliberately absent: any knowledge of a backend. Rows and ids are handed in.

mod finding;
mod inquiry;
mod ledger;
mod recorder;
#[cfg(test)]
mod tests;

pub use finding::{Finding, Verdict};
pub use inquiry::{Audit, Row};
pub use ledger::{EVENT_BYTES, Ledger};
pub use recorder::Recorder;
