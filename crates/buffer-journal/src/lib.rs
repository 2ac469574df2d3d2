//! The buffer contract on the on-disk journal: the default backend.
//!
//! Events lie in a [`journal::Log`]; which of them are leased, waiting or done is kept in memory for
//! a bounded window of numbers and written to the log's checkpoint once a second. Dead letters lie
//! in a second log, in `dead/`.
//!
//! Invariants
//! - An ack that no checkpoint has seen yet is forgotten by a crash: the event comes again and the
//!   store dedupes it. An ack never precedes its effect, so nothing is lost either way.
//! - A burial is durable in `dead/` before the event counts as done, and the checkpoint of `dead/`
//!   promises its letter before the journal's checkpoint marks the event done.
//! - No event gets a number at or below that of a dead letter's event, so that a mark of what is
//!   buried never hides a later event.
//! - A segment is removed only when a durable checkpoint says that all of it is done. The segment that
//!   is written to is closed after [`Options::segment_ms_max`], and on closing the journal, so that
//!   what is done does not stay on the disk.
//! - With a key, events and dead letters are encrypted: id, key and payload. A key that is missing is an
//!   error before anything is changed.
//! - Memory is bounded by the window, not by the backlog.
//!
//! What it deliberately does not do: serve two processes. The directory is locked; a second process
//! may only look ([`inspect`]).

mod backend;
mod dead;
mod erase;
mod erased;
mod event;
mod failure;
pub mod inspect;
mod journal_buffer;
mod keeper;
mod letters;
mod options;
mod recovery;
mod replay;
mod report;
mod window;

pub use backend::Backend;
pub use erase::{erase, erase_on};
pub use erased::ERASED;
pub use journal::Sync;
pub use journal_buffer::JournalBuffer;
pub use options::{Key, Options};
pub use recovery::{Recovery, Repaired, repair};
