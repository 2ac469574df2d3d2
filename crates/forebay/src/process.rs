//! A process that runs pipelines: its configuration, its fleet, and the store that all pipelines share.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use runtime::{Fleet, Following, Remains};
use store::card::Guard;
use store::{Claimed, Pipelines};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::{fleet, open};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// It takes events and answers requests.
    pub(crate) api: bool,
    /// It settles.
    pub(crate) worker: bool,
}

/// See the module. [`Process::stop`] ends it in order; dropping it does not.
pub(crate) struct Process {
    pub(crate) config: Config,
    pub(crate) part: Part,
    pub(crate) fleet: Fleet,
    /// Where operators pause pipelines, if this process is to follow them.
    wanted: Option<Arc<dyn Pipelines>>,
    following: Mutex<Option<Following>>,
    store: OnceCell<Stored>,
}

/// The store that this process settles into.
pub(crate) struct Stored {
    pub(crate) store: Claimed,
    /// What makes the fingerprints of cards.
    pub(crate) guard: Arc<Guard>,
}

impl Process {
    /// Opens nothing yet. Pipelines follow the rows of `wanted`.
    pub(crate) fn new(config: Config, part: Part, wanted: Option<Arc<dyn Pipelines>>) -> Self {
        let fleet = fleet::of(&config);
        let of_api = |wanted: &Arc<dyn Pipelines>| Following::begin_later(&fleet, wanted.clone());
        // A process that leases nothing shows what is paused, and needs no store to start.
        let following = if part.worker { None } else { wanted.as_ref().map(of_api) };
        let following = Mutex::new(following);
        Self { config, part, fleet, wanted, following, store: OnceCell::new() }
    }

    /// The store, for settling. The first call opens it, and reads which pipelines are paused before any
    /// of them leases an event. A domain opens its buffers first: a process waits for a journal that its
    /// predecessor still has, and the store is free by then.
    ///
    /// # Errors
    /// If it can't be opened.
    pub(crate) async fn store(&self) -> Result<&Stored> {
        let stored = self.store.get_or_try_init(async || {
            let (store, guard) = open::store(&self.config).await?;
            anyhow::Ok(Stored { store, guard })
        });
        let stored = stored.await?;
        if let Some(wanted) = &self.wanted
            && self.following().is_none()
        {
            let following = Following::begin(&self.fleet, wanted.clone()).await?;
            *self.following() = Some(following);
        }
        Ok(stored)
    }

    /// The store, if it is open.
    pub(crate) fn open_store(&self) -> Option<&Claimed> {
        self.store.get().map(|stored| &stored.store)
    }

    /// Stops all pipelines, and closes the store. Returns the events that each pipeline did not settle.
    ///
    /// # Errors
    /// The first of the pipelines' and the store's; all are closed all the same.
    pub(crate) async fn stop(self) -> Result<Vec<Arc<Remains>>> {
        drop(self.following().take());
        let stopped = fleet::stop(&self.fleet).await;
        if let Some(store) = self.open_store() {
            let closed = store.close().await.context("the store could not be closed");
            let remains = stopped?;
            closed?;
            return Ok(remains);
        }
        stopped
    }

    fn following(&self) -> std::sync::MutexGuard<'_, Option<Following>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
