//! The same payments into the same database in several ways, one phase after the other, and what
//! that came to: as a table, as JSON, and as a page that opens without a network.
//!
//! - [`Recorder`] takes latencies while a phase runs; [`processor`] watches who uses the processors.
//! - [`Figures`] is what one phase came to; [`Comparison`] is all of them, with the machine.
//!
//! What it deliberately does not do: it runs no phase and knows no backend. Whoever runs one fills in
//! its figures, and says in words what the phase did and what a payment survives that it took.
//!
//! Invariants
//! - Every figure on the page stands in its table and in the JSON too.
//! - The page holds no script and refers to nothing outside itself; all text in it is escaped.

mod comparison;
mod figures;
mod machine;
mod measured;
mod number;
mod page;
pub mod processor;
mod recorder;
mod table;

pub use comparison::{Comparison, Setting};
pub use figures::Figures;
pub use machine::Machine;
pub use measured::{CoresMean, CpuSample, LatencyMs, RatePoint};
pub use recorder::{Recorder, rates};
