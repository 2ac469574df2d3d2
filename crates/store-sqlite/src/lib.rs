//! The store's ports on SQLite: one file, nothing to install.
//!
//! ```text
//!  families write ──► queue ──► writer thread ──► WAL ──► database file
//!                    (bounded)  one connection     ▲
//!                               group commit       ├── checkpointer thread
//!  families read ──► reader connection             │
//!  beside: families write and read ──► a connection of its own: gate, one transaction, gate
//! ```
//!
//! Invariants
//! - A caller is answered only after COMMIT returned, with `synchronous=FULL`.
//! - One transaction serves the callers that wait at that moment, each behind a savepoint of its
//!   own: one caller's duplicates or bad row undo nothing of the others', nor does a load that can't be
//!   recorded; and a COMMIT that fails is everybody's.
//! - After any failure of a whole transaction the writer's connection is opened anew: what SQLite
//!   holds in memory after an I/O error is not trusted.
//! - A process beside the one that settles gets its turn to write, however much is settled: see
//!   the module `gate`. The writer waits for one transaction of it, and never long.
//! - The WAL is bounded ([`Options::wal_bytes_max`]) as long as no other program keeps a read
//!   transaction open for ever.
//!
//! What it deliberately does not do: it holds no rows in memory across calls, it retries nothing
//! (the engine does), and async workers never wait on the disk in it.

mod backend;
mod column;
mod connection;
mod database;
mod error;
mod family;
mod gate;
pub mod inspect;
mod migrations;
mod options;
mod store;
mod transaction;
mod wal;
mod writer;

pub use backend::Backend;
pub use options::Options;

pub use crate::store::{beside, open};
