//! An open store: one accessor for each family of tables.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Completions, Error, Keys, Loads, Moves, Payments, Pipelines, Processes, Rulesets, Tables,
};

/// An open store, with the families that any process may read and write: the one that settles
/// payments, and those beside it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Finished work of pipelines.
    fn completions(&self) -> Arc<dyn Completions>;

    /// The key of card fingerprints.
    fn keys(&self) -> Arc<dyn Keys>;

    /// The load of processes.
    fn loads(&self) -> Arc<dyn Loads>;

    /// Moves between buffers.
    fn moves(&self) -> Arc<dyn Moves>;

    /// What operators want of each pipeline.
    fn pipelines(&self) -> Arc<dyn Pipelines>;

    /// The processes that run.
    fn processes(&self) -> Arc<dyn Processes>;

    /// Versions of the fraud rules.
    fn rulesets(&self) -> Arc<dyn Rulesets>;

    /// Tables of others.
    fn tables(&self) -> Arc<dyn Tables>;

    /// Waits for the calls that run, lets go of the claim if there is one, and closes every
    /// connection. A second call does nothing. Later calls of the families fail.
    ///
    /// # Errors
    /// If it can't be closed in order. What was written is durable all the same.
    async fn close(&self) -> Result<(), Error>;
}

/// An open store that this process has the claim to settle payments into: the only way to them.
#[derive(Clone)]
pub struct Claimed {
    store: Arc<dyn Store>,
    payments: Arc<dyn Payments>,
}

impl Claimed {
    /// For adapters: `payments` must hold the claim.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, payments: Arc<dyn Payments>) -> Self {
        Self { store, payments }
    }

    /// Settled payments.
    #[must_use]
    pub fn payments(&self) -> &Arc<dyn Payments> {
        &self.payments
    }

    /// The other families.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

impl Deref for Claimed {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed").finish_non_exhaustive()
    }
}
