//! The `buffer_moves`, `buffer_move_processes` and `buffers_left` tables: how far each pipeline has moved from
//! one buffer to another, which processes go along, and which buffers earlier moves have left.
//!
//! A move is recorded under the name of its pipeline, with the identities of its two buffers, and has
//! steps, each a [`Route`]. A leader takes one step after the other; every process that offers or leases
//! reports the step that it follows, and the two buffers that it has.

use async_trait::async_trait;
use model::route::{Phase, Route, SHARE_MAX};

use super::{pipelines, processes};
use crate::Error;

/// The longest identity of a buffer, in bytes.
pub const BUFFER_BYTES_MAX: usize = 8_192;

/// Buffers that are kept as left, for each pipeline.
pub const LEFT_MAX: usize = 16;

/// The two buffers of a move, as their identities are written. Where an earlier version wrote them, the target
/// is empty and the source holds both URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Buffers {
    /// The buffer that keys leave.
    pub source: String,
    /// The buffer that they move to.
    pub target: String,
}

/// The move of a pipeline that is under way or was made last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Its two buffers.
    pub buffers: Buffers,
    /// The present step.
    pub step: Step,
}

/// One step of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Counts up from 1.
    pub number: u64,
    /// Which way offers go.
    pub route: Route,
}

impl Step {
    /// Whether all keys belong to one of the two buffers: then another move may begin.
    #[must_use]
    pub fn is_finished(self) -> bool {
        self.route.phase == Phase::Open && [0, SHARE_MAX].contains(&self.route.share)
    }

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
    /// Rows in the store: payments, or those of a table.
    pub settled: u64,
    /// Events in both buffers.
    pub pending: u64,
    /// Dead letters of both.
    pub dead: u64,
    /// Events that were found to be settled already.
    pub duplicates: u64,
    /// Events that the processes had offered since each of them began.
    pub offered: u64,
    /// Places without an event that they had read past since then.
    pub empty: u64,
    /// Events that they had acked or buried since then.
    pub done: u64,
}

/// What one process says of itself. The source comes first in each pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Its name, unlike any other's.
    pub process: String,
    /// The two buffers that it has.
    pub buffers: Buffers,
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
    /// Events that the buffers hold, as it sees them. An upper bound where a place may hold no event.
    pub pending: [u64; 2],
    /// Places that counted as pending until it read past them: they held no event.
    pub empty: [u64; 2],
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

/// Keeps track of moves between buffers. Each pipeline has moves of its own: no call changes what is recorded
/// of another one.
#[async_trait]
pub trait Moves: Send + Sync + 'static {
    /// The move of this pipeline that is under way or was made last.
    ///
    /// # Errors
    /// If it can't be read.
    async fn recorded(&self, pipeline: &str) -> Result<Option<Recorded>, Error>;

    /// The same of each pipeline that has moved, by name.
    ///
    /// # Errors
    /// If they can't be read.
    async fn all(&self) -> Result<Vec<Recorded>, Error>;

    /// The buffers that the moves of this pipeline before the recorded one have left, the latest first, at most
    /// [`LEFT_MAX`].
    ///
    /// # Errors
    /// If they can't be read.
    async fn left(&self, pipeline: &str) -> Result<Vec<String>, Error>;

    /// Records the first step of a move in place of the finished one of the same pipeline, whose step it
    /// follows. Keeps the buffer that the finished one left. Returns whether it was recorded: another leader
    /// may have begun a move.
    ///
    /// # Errors
    /// [`Error::Rejected`] when a text is out of bounds; or if it can't be written.
    async fn begin(&self, first: &Recorded, start: Start) -> Result<bool, Error>;

    /// Takes the step after the present one. Returns whether it was taken: another leader may have taken
    /// it.
    ///
    /// # Errors
    /// If it can't be written.
    async fn advance(&self, pipeline: &str, step: Step) -> Result<bool, Error>;

    /// Records other identities for the buffers of a move. Returns whether there is such a move.
    ///
    /// # Errors
    /// [`Error::Rejected`] when an identity is too long; or if it can't be written.
    async fn rename(&self, pipeline: &str, buffers: &Buffers) -> Result<bool, Error>;

    /// What there was when the move began; `None` if it has not.
    ///
    /// # Errors
    /// If it can't be read.
    async fn start(&self, pipeline: &str) -> Result<Option<Start>, Error>;

    /// Records the report of a process on this pipeline in place of its last one.
    ///
    /// # Errors
    /// [`Error::Rejected`] when a text is out of bounds; or if it can't be written.
    async fn report(&self, pipeline: &str, report: &Report) -> Result<(), Error>;

    /// The last report of every process on this pipeline.
    ///
    /// # Errors
    /// If they can't be read.
    async fn reports(&self, pipeline: &str) -> Result<Vec<Heard>, Error>;

    /// Marks a process of this pipeline as ended that can't report it. Returns whether there is such a process.
    ///
    /// # Errors
    /// If it can't be written.
    async fn forget(&self, pipeline: &str, process: &str) -> Result<bool, Error>;

    /// Deletes the reports of this pipeline's processes that have ended.
    ///
    /// # Errors
    /// If they can't be deleted.
    async fn sweep(&self, pipeline: &str) -> Result<(), Error>;
}

/// Checks the move that every adapter is given.
///
/// # Errors
/// [`Error::Rejected`], which names the first part out of bounds.
pub fn check(recorded: &Recorded) -> Result<(), Error> {
    pipelines::check_name(&recorded.pipeline)?;
    check_buffers(&recorded.buffers)
}

/// Checks the buffers that every adapter is given.
///
/// # Errors
/// [`Error::Rejected`], which names the first identity out of bounds.
pub fn check_buffers(Buffers { source, target }: &Buffers) -> Result<(), Error> {
    for (side, identity) in [("source", source), ("target", target)] {
        if identity.len() > BUFFER_BYTES_MAX || identity.contains('\0') {
            return Err(Error::Rejected(format!(
                "the {side} of a move must be at most {BUFFER_BYTES_MAX} bytes without a NUL"
            )));
        }
    }
    Ok(())
}

/// Checks the report that every adapter is given.
///
/// # Errors
/// [`Error::Rejected`], which names the first part out of bounds.
pub fn check_report(pipeline: &str, report: &Report) -> Result<(), Error> {
    pipelines::check_name(pipeline)?;
    processes::check_id(&report.process)?;
    check_buffers(&report.buffers)
}
