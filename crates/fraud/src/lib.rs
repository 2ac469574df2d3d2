//! Fraud rules over per-card state, and the handler that screens payments with them.
//!
//! Four rules look at each payment: `velocity`, `amount_spike`, `dawn_high_amount` and
//! `unusual_category`. All of them run, and each hit says what was seen against what threshold.
//! Everything but [`handler`] is pure: no I/O and no clock. Time is the payments' own.
//!
//! Invariants
//! - What is known of a card is a pure function of the ordered list of its settled payments. Hence
//!   the same order for each card gives the same verdicts, whatever the number of lanes, and a
//!   state read back from the store equals the one that was lost.
//! - A payment counts once: one that is still remembered is not counted again when it comes again.
//! - The handler's memory is a cache of the store and is never ahead of it for longer than one
//!   batch; whatever is in doubt is forgotten and read back.
//! - No floating point: a verdict is exact and the same on every machine.
//!
//! What it deliberately does not do: it does not dedupe (the store does, in the transaction that
//! applies the effect), and it does not act on a hit: a flagged payment is settled like any other.

mod error;
pub mod handler;
mod hit;
pub mod keys;
mod latest;
mod number;
pub mod promise;
mod rules;
mod ruleset;
mod screen;
mod state;
mod versions;
mod zone;

pub use error::Error;
pub use handler::Handler;
pub use hit::{Basis, Hit, Rule};
pub use latest::RECENT_MAX;
pub use number::Number;
pub use ruleset::{AmountSpike, DawnHighAmount, Reach, Ruleset, UnusualCategory, Velocity};
pub use screen::{CARDS_MAX, Ownership, Screen, Verdict, verdicts};
pub use versions::Versions;
