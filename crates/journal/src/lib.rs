//! A segmented, checksummed, group-committed log.
//!
//! # On disk
//! A directory holds segments, `{base:020}.seg`, each named after the sequence number of its first
//! record, two slots for checkpoints, a `LOCK`, and `quarantine/` with what could not be read:
//!
//! ```text
//! segment:  header (24 bytes) | record | record | … | zeros up to the preallocated size
//! record:   crc u32 | len u32 | magic u16 | kind u8 | flags u8 | seq u64 | at_ms i64 |
//!           id_len u8 | key_len u8 | 0 u16 | body (len bytes: id, key, payload; or encrypted)
//! ```
//!
//! All integers are little-endian; the CRC (CRC-32/ISO-HDLC) covers everything behind it. Records
//! appended by concurrent callers between two syncs form a *group*: one write, one `fdatasync`. The
//! first record of a group is flagged.
//!
//! # Invariants
//! - An append returns only after `fdatasync` of the bytes and of the directory entry that leads to
//!   them ([`Sync::Always`]), or after the write ([`Sync::Os`]).
//! - A failed `fdatasync` poisons the log: nothing more is appended, and nothing that was not
//!   durable before is ever handed to a reader.
//! - A group is written only after the one before it was synced. A valid first-of-group record
//!   behind a damaged stretch therefore proves that the stretch had been acknowledged, and so does a
//!   checkpoint that promises its numbers: it is quarantined and counted. Other damage at the end is
//!   cut off (a copy is kept): it is an unfinished group, or one that was acknowledged after the last
//!   checkpoint. Nothing tells which.
//! - A segment is named by a checkpoint before its first group is acknowledged, so that a last
//!   segment that is gone is noticed.
//! - A valid record is never thrown away, and a sequence number never names two acknowledged records,
//!   also where no segment is left: the checkpoint holds the next number.
//! - Memory does not grow with the backlog.
//!
//! What it deliberately does not do: leases, acks, retries (the `buffer-journal` crate), and
//! checksums of the payload's meaning. It reads no clock.

mod catalog;
pub mod checkpoint;
mod commit;
pub mod encryption;
mod error;
pub mod fs;
mod gone;
mod keys;
mod log;
mod options;
mod quarantine;
mod reader;
pub mod record;
mod recovery;
pub mod repair;
mod room;
pub mod segment;
mod shared;

pub use error::Error;
pub use keys::{KeyId, Keys};
pub use log::{Held, Log, Usage};
pub use options::{Options, Sync};
pub use reader::Reader;
pub use record::{Entry, Record};
pub use recovery::Recovery;
