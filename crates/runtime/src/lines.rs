//! The buffers of all pipelines of a process, opened and held against recorded moves.

mod error;
mod left;
mod look;
mod open;

use std::sync::Arc;

use model::clock::Clock;
use store::{Moves, Store};

pub use self::error::Error;
pub use self::look::Seen;
pub use self::open::{Both, Opened};
use crate::line::Line;
use crate::moving::Parse;

/// See the module.
#[derive(Clone)]
pub struct Lines {
    /// Those of every pipeline.
    pub all: Vec<Line>,
    /// The store that records moves.
    pub store: Arc<dyn store::Location>,
    /// The name of this process, where several are shown side by side.
    pub process: String,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// How recorded buffers are read.
    pub parse: Parse,
    /// Whether buffers are opened though they are out of reach, to go on trying later.
    pub is_lazy: bool,
}

impl Lines {
    /// The store, beside the process that settles into it. It connects when it is first used.
    ///
    /// # Errors
    /// If an option is wrong.
    pub fn beside(&self) -> Result<Arc<dyn Store>, store::Error> {
        self.store.beside(self.clock.clone())
    }

    /// Whether one process alone can settle into the store: where it is a file, or the first pipeline has a buffer of
    /// one process. Its claim on the store refuses another process.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.store.shared().is_none() || !self.all.first().is_some_and(Line::is_shared)
    }

    /// What keeps track of moves between buffers.
    ///
    /// # Errors
    /// If an option is wrong.
    pub fn moves(&self) -> Result<Arc<dyn Moves>, store::Error> {
        Ok(self.beside()?.moves())
    }
}
