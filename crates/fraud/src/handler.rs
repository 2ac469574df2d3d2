//! Screens the payments of a buffer and settles them in the store.
//!
//! What a lane knows of its cards is a cache of the store. It runs ahead of the store while a batch
//! is being settled, and only then: the cards of the batch are noted as doubtful before they are
//! touched, and doubtful cards are forgotten and read back before anything else is done. That holds
//! whether the store failed, answered in a way that leaves the commit open, or the whole call was
//! dropped half way.
//!
//! It relies on one thing: while a lane lives, all of a card's payments that come to this process
//! come to that lane. Where the buffer is shared, others may settle the card's payments before and
//! after; each envelope then says in which term of this process's sole care it was leased, and what
//! was learnt in another term is read again. A buffer may be wrong about that: its server went back in
//! time, or a process stood still and settles late. So a batch also relies on a fence of each shard in
//! the store, checked in its own transaction, and what was read under an earlier fence is read again.

mod lane;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::card::Guard;
use store::{Payments, Rulesets};

use crate::Error;
use crate::ruleset::Ruleset;
use crate::screen::Screen;
use lane::Lane;

/// The pipeline's name.
pub const PIPELINE: &str = "consumer_batch";

/// Makes lanes that screen and settle payments.
pub struct Handler {
    store: Arc<dyn Payments>,
    guard: Arc<Guard>,
    ruleset: Arc<Ruleset>,
    ruleset_version: i64,
    /// Kept in memory by all lanes together.
    cards_max: usize,
    /// Each lane has a clone, so that lanes can be counted: their number changes when a pipeline is scaled.
    lanes: Arc<()>,
    /// The store held nothing when the handler was made.
    empty_at_start: bool,
    /// Some lane has begun to settle. A lane made after that may stand in for one that settled
    /// something, and can't take a card for new because the store was empty at the start.
    settling: Arc<AtomicBool>,
}

impl Handler {
    /// A handler that settles into `store`, and has the ruleset's version from `rulesets`. All its lanes
    /// together keep up to `cards_max` cards in memory (and those of one batch each), each lane as many as
    /// any other.
    ///
    /// Nobody else may settle payments into the same store while the handler lives, unless all
    /// drain one shared buffer, whose terms say when a card was another's.
    ///
    /// # Errors
    /// [`Error::Ruleset`] when a threshold is out of bounds, [`Error::Store`] when the store can't
    /// be read, or can't record a new ruleset.
    pub async fn open(
        store: Arc<dyn Payments>,
        rulesets: &dyn Rulesets,
        guard: Arc<Guard>,
        ruleset: Ruleset,
        cards_max: usize,
    ) -> Result<Self, Error> {
        ruleset.validate()?;
        let ruleset_version = rulesets.ruleset_version(&ruleset.content()).await?;
        let empty_at_start = store.is_empty().await?;
        Ok(Self {
            store,
            guard,
            ruleset: Arc::new(ruleset),
            ruleset_version,
            cards_max,
            lanes: Arc::new(()),
            empty_at_start,
            settling: Arc::new(AtomicBool::new(false)),
        })
    }
}

impl engine::Handler for Handler {
    fn pipeline(&self) -> &str {
        PIPELINE
    }

    fn lane(&self) -> Box<dyn engine::Lane> {
        let complete = self.empty_at_start && !self.settling.load(Ordering::SeqCst);
        let screen = Screen::new(Arc::clone(&self.ruleset), complete)
            .expect("the ruleset was validated when the handler was made");
        Box::new(Lane {
            store: Arc::clone(&self.store),
            guard: Arc::clone(&self.guard),
            screen,
            cards_max: self.cards_max,
            lanes: Arc::clone(&self.lanes),
            ruleset_version: self.ruleset_version,
            doubtful: Vec::new(),
            settling: Arc::clone(&self.settling),
            fences: HashMap::new(),
        })
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("ruleset", &self.ruleset)
            .field("ruleset_version", &self.ruleset_version)
            .field("cards_max", &self.cards_max)
            .field("empty_at_start", &self.empty_at_start)
            .finish_non_exhaustive()
    }
}
