//! The plain ways to write payments into a store: one INSERT each, without a buffer. A bench compares them with the
//! pipeline.
//!
//! What it deliberately does not do: it screens nothing, and takes no claim. So it writes into a store of its own,
//! which is made for the bench and discarded after it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::clock::Clock;

use crate::{Error, Row};

/// How the INSERTs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over one connection, each when the one before is committed.
    OneByOne,
    /// Over so many connections at once.
    Pool(usize),
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that are in the table now and were not before.
    pub inserted: u64,
    /// Rows whose `tx_id` was there already.
    pub duplicates: u64,
    /// Rows that were not written, or whose answer was lost.
    pub failed: u64,
    /// Why the first of those failed.
    pub failure: Option<Error>,
    /// From the first INSERT to the last answer.
    pub took: Duration,
}

/// The process of the server that answers a connection, where it runs on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// The name of the server's program.
    pub program: &'static str,
    /// The process id, on its own machine.
    pub pid: u32,
}

/// A store beside another one on the same server, made to measure.
#[async_trait]
pub trait Plain: Send + Sync + 'static {
    /// What its server is called.
    fn server(&self) -> &'static str;

    /// What it is called where it lies, as a noun: `the schema fds_bench_1`.
    fn name(&self) -> String;

    /// Makes it.
    ///
    /// # Errors
    /// [`Error::Fatal`] when something of its name is there; [`Error::Unavailable`] when the server can't be
    /// reached.
    async fn make(&self) -> Result<(), Error>;

    /// Removes it with everything in it. Does nothing where it is not there.
    ///
    /// # Errors
    /// [`Error::Fatal`] when what is there is no store; [`Error::Unavailable`] when the server can't be reached.
    async fn discard(&self) -> Result<(), Error>;

    /// Opens all connections, before the time counts.
    ///
    /// # Errors
    /// If one can't be had, or the store is not made.
    async fn connect(&self, way: Way) -> Result<Box<dyn Connected>, Error>;

    /// Opens a connection, and hands `look` the server's process for it while it is open.
    ///
    /// # Errors
    /// If no connection can be had.
    async fn while_connected(&self, look: &mut (dyn FnMut(Server) + Send)) -> Result<(), Error>;
}

/// Connections that write.
#[async_trait]
pub trait Connected: Send {
    /// Writes `rows`, each as a transaction of its own. After `limit` no further INSERT begins. `clock` stamps when
    /// a row was processed; `on_insert` gets how long each row took that was inserted.
    async fn insert(
        self: Box<Self>,
        rows: Vec<Row>,
        limit: Duration,
        clock: Arc<dyn Clock>,
        on_insert: &mut (dyn FnMut(Duration) + Send),
    ) -> Outcome;
}
