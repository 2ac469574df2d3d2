//! The store's ports on PostgreSQL: a schema of its own in a database that others may use as well.
//!
//! ```text
//!  settle ─────────────────► pool ──► BEGIN, binary COPY, COMMIT   (one transaction a batch)
//!  histories, is_empty ────► pool ──► one query, so one snapshot
//!  complete, record ───────► pool ──► INSERT
//!  tables of others ───────► pool of their own ──► INSERT … ON CONFLICT, SELECT
//!  claim (advisory lock) ──► a connection of its own, probed and made anew when it breaks
//! ```
//!
//! Invariants
//! - A caller is answered only after COMMIT was, with `synchronous_commit=on`. A commit whose answer
//!   is lost is [`store::Error::Unavailable`], and the next attempt finds duplicates.
//! - Every call ends within a bound: waiting for a connection, connecting, and a little more than
//!   [`Options::statement_timeout_ms`]. A connection on which anything failed that leaves its state
//!   in doubt is thrown away, and what the server still does for it is cancelled.
//! - A store opened for exclusive use holds an advisory lock, and every batch checks in its own
//!   transaction that no other process settled in between: what this process knows of cards would
//!   be out of date.
//! - Nothing outside the schema is read or written but PostgreSQL's catalogs, and the tables that
//!   somebody names as the targets of `Tables`.
//! - No password, and no text of a row, is in any error or log.
//!
//! - Every setting that a guarantee rests on is asked of each new session, and what makes a commit
//!   durable is set in the transaction that settles. A pooler that shares sessions between
//!   transactions is refused: locks and prepared statements belong to a session.
//!
//! What it deliberately does not do: it retries nothing (the engine does), and it keeps no rows in
//! memory across calls.

mod backend;
pub mod baseline;
mod claim;
mod column;
mod database;
mod error;
mod family;
pub mod inspect;
mod link;
mod migrations;
mod options;
mod plain;
mod pooler;
mod schema;
pub mod scratch;
mod session;
mod settings;
mod store;
mod time;
mod tls;

pub use backend::Backend;
pub use migrations::{Migrated, migrate};
pub use options::{Options, SslMode};

pub use crate::store::{begun, beside, open};
