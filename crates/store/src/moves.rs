//! The `buffer_moves` and `buffer_move_processes` tables: how far a pipeline has moved from one buffer
//! to another, and which processes go along.
//!
//! A move has a name (which two buffers) and steps, each a [`Route`]. Whoever leads the move takes one
//! step after the other; every process that offers or leases says which one it goes by.

use async_trait::async_trait;
use model::route::{Phase, Route};

use crate::Error;

/// The longest name of a move or a process, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;

/// One step of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Counts up from 1.
    pub number: u64,
    /// Which way offers go.
    pub route: Route,
}

impl Step {
    /// The step that takes a hold back: nobody has gone by its share yet.
    #[must_use]
    pub fn back(self) -> Self {
        let before = self.route.before;
        Self { number: self.number + 1, route: Route { before, share: before, phase: Phase::Open } }
    }
}

/// What was there when a move began, for the audit that closes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start {
    /// Payments in the store.
    pub settled: u64,
    /// Events in both buffers.
    pub pending: u64,
    /// Dead letters of both.
    pub dead: u64,
    /// Events that were found to be settled already.
    pub duplicates: u64,
    /// Events that the processes had offered since each of them began.
    pub offered: u64,
}

/// What one process says of itself. The source comes first in each pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Its name, unlike any other's.
    pub process: String,
    /// The step it goes by.
    pub step: u64,
    /// Whether what keys moved away from has done what it held of them by that step.
    pub drained: bool,
    /// Whether it has ended in order: it offers and leases no more.
    pub ended: bool,
    /// Events it offered.
    pub offered: [u64; 2],
    /// Events it acked or buried.
    pub done: [u64; 2],
    /// Events that the buffers hold, as it sees them.
    pub pending: [u64; 2],
    /// Their dead letters.
    pub dead: [u64; 2],
}

/// A report, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What was said.
    pub report: Report,
    /// How long ago, in milliseconds, by the store's clock.
    pub ago_ms: u64,
}

/// Keeps track of moves between buffers.
#[async_trait]
pub trait Moves: Send + Sync + 'static {
    /// The present step of a move; `None` if it has not begun.
    ///
    /// # Errors
    /// If it can't be read.
    async fn step(&self, name: &str) -> Result<Option<Step>, Error>;

    /// The move that is under way or was made last, by its name.
    ///
    /// # Errors
    /// If it can't be read.
    async fn last(&self) -> Result<Option<(String, Step)>, Error>;

    /// Takes the step after the present one. Returns whether it was that: somebody else may have taken
    /// it. The first step begins the move, and what was kept of any other is forgotten: a pipeline is on
    /// one way at a time, and may go an earlier one again.
    ///
    /// # Errors
    /// If it can't be written.
    async fn advance(&self, name: &str, step: Step, start: Start) -> Result<bool, Error>;

    /// What there was when the move began; `None` if it has not.
    ///
    /// # Errors
    /// If it can't be read.
    async fn start(&self, name: &str) -> Result<Option<Start>, Error>;

    /// Says something of a process, instead of what was said before.
    ///
    /// # Errors
    /// If it can't be written.
    async fn report(&self, name: &str, report: &Report) -> Result<(), Error>;

    /// What all processes said last, by name.
    ///
    /// # Errors
    /// If it can't be read.
    async fn reports(&self, name: &str) -> Result<Vec<Heard>, Error>;

    /// Takes a process for ended that can't say so itself. Returns whether there is one of this name.
    ///
    /// # Errors
    /// If it can't be written.
    async fn forget(&self, name: &str, process: &str) -> Result<bool, Error>;
}
