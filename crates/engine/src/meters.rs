//! What one pipeline's engines share, one after the other.

use std::sync::{Arc, OnceLock};

use crate::calls::{self, Quiet};
use crate::leftover::Leftover;
use crate::load::Load;
use crate::{Stats, Work};

/// Counts of a pipeline, which outlive the engine that adds to them, and what an engine leaves to the next one.
/// Clones share them.
#[derive(Clone)]
pub struct Meters {
    pub(crate) stats: Arc<Stats>,
    pub(crate) load: Arc<Load>,
    pub(crate) leftover: Arc<Leftover>,
    pub(crate) quiet: Arc<Quiet>,
    calls: Arc<OnceLock<Arc<calls::Stats>>>,
}

impl Meters {
    /// Registers the metrics of `pipeline` with the recorder that is installed by now.
    #[must_use]
    pub fn new(pipeline: &str) -> Self {
        let pipeline = Arc::from(pipeline);
        let stats = Arc::new(Stats::new(&pipeline));
        Self {
            stats,
            load: Arc::new(Load::new(pipeline)),
            leftover: Arc::default(),
            quiet: Arc::default(),
            calls: Arc::default(),
        }
    }

    /// Those of a pipeline of calls. The first time registers them with the recorder that is installed by now.
    pub(crate) fn calls(&self) -> Arc<calls::Stats> {
        let pipeline = self.load.pipeline();
        Arc::clone(self.calls.get_or_init(|| Arc::new(calls::Stats::new(pipeline))))
    }

    /// What the engines did.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// How much they have worked.
    #[must_use]
    pub fn work(&self) -> Work {
        Work(Arc::clone(&self.load))
    }
}
