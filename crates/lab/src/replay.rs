//! Real events from files: CSV and NDJSON, plain or gzipped.
//!
//! A [`Map`] says what each field of a payment is made of. NDJSON in Forebay's own format needs
//! none, and its lines go on byte for byte.
//!
//! A replay can be interrupted at any moment and goes on where it was: after each batch that the
//! sink accepted, a small file says how far it came. At most one batch is then offered twice, and
//! effects are deduped by `tx_id`. It goes on only with the same file, map and target: a digest of all
//! bytes read tells whether the file is the same.
//!
//! Invariants
//! - Memory is bounded by [`BATCHES_AHEAD_MAX`] batches of [`BATCH_BYTES_MAX`], whatever is in the
//!   file: a line or record past [`RECORD_BYTES_MAX`] is never held.
//! - Every record is accepted or counted as rejected with its reason, never passed over.
//! - Amounts are scaled in exact decimal arithmetic.
//!
//! Deliberately absent: pacing. A file is offered as fast as the sink takes it.

mod apply;
mod decimal;
mod drained;
mod file;
mod gunzip;
mod lines;
mod map;
mod reader;
mod records;
mod rejects;
mod run;
mod shown;
mod state;
mod template;
#[cfg(test)]
mod tests;

pub use decimal::Decimal;
pub use drained::Drained;
pub use file::Format;
pub use map::Map;
pub use reader::{BATCH_BYTES_MAX, BATCHES_AHEAD_MAX};
pub use records::RECORD_BYTES_MAX;
pub use rejects::{Reason, Rejects};
pub use run::{Options, Progress, Replay, Start, Summary};
