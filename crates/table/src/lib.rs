//! Write-behind and fast reads for any table.
//!
//! ```text
//!  PUT, POST ─► Definition::read ─► Event ─► Overlay ─► buffer ─► engine ─► Handler ─► store::Table
//!                                              │ (what was accepted)          │ (what was settled)
//!                                              ▼                              ▼
//!  GET ───────────────────────────────────► Known: pending rows · cache · flights ──miss──► store::Table
//! ```
//!
//! Invariants
//! - What was accepted here is read here, at once and until the store has it: a row leaves the
//!   pending ones only once it (or a newer one) is settled, or the buffer holds it no more.
//! - A newer version is never hidden nor overwritten by an older one, whatever comes again.
//! - N readers of a row that is not known cost one query.
//! - Pending rows and the cache are bounded each by rows and bytes; past the bound of the pending
//!   ones, writes are refused, for what was accepted has to be readable.
//!
//! What it deliberately does not do: it speaks no HTTP and no SQL, it makes no table, and it reads
//! nothing back that another process accepted before the store has it.

mod bounds;
mod collapse;
pub mod definition;
pub mod entry;
mod event;
mod flight;
mod found;
mod front;
mod handler;
mod json;
mod key;
mod known;
mod listed;
mod mark;
mod overlay;
mod reject;
mod shared;
mod start;
mod sweep;
mod value;
mod version;

pub use definition::Definition;
pub use found::{Found, Source};
pub use front::{Failure, Front, Options};
pub use handler::Handler;
pub use mark::Mark;
pub use reject::Reject;
