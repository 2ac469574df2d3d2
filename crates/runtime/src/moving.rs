//! A pipeline on its way from one buffer to another.
//!
//! ```text
//!  leading: takes step after step ──► store ◄── following: each process goes by the present step,
//!           waits for each process ◄── reports ──┘        and reports it
//! ```
//!
//! Each pipeline has moves of its own: two may move at the same time.
//!
//! Invariants
//! - A step is taken only when every process has reported the one before.
//! - An unfinished move is joined or refused, never replaced.
//! - A process with one buffer is refused where a finished move has left that buffer.
//!
//! What it deliberately does not do: it reads no URL (see [`Parse`]), opens no buffer, and prints nothing.

mod audit;
mod error;
mod following;
mod leading;
mod ledger;
mod left;
#[cfg(test)]
mod spelled;
mod subject;
#[cfg(test)]
mod tests;
mod together;
mod way;

pub use audit::Audit;
pub use error::Error;
pub use following::{Follower, follow};
pub use leading::{Leader, Told, ended_here, is_through};
pub use ledger::{BoxError, Evidence, Ledger, Rows, Settled, Unkept};
pub use left::{Place, left_behind, place};
pub use subject::{Parse, Subject};
pub use way::{Way, shown};
