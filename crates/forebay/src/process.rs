//! A process that runs pipelines: its configuration, its fleet, and the store that all pipelines share.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use runtime::lines::{Lines, Opened};
use runtime::{Fleet, Following, Line, Remains};
use store::card::Guard;
use store::{Claimed, Pipelines};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::{fleet, open};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// It takes events and answers requests.
    pub api: bool,
    /// It settles.
    pub worker: bool,
}

/// See the module. [`Process::stop`] ends it in order; dropping it does not.
pub struct Process {
    /// What it runs with.
    pub config: Config,
    /// What it does.
    pub part: Part,
    /// Its pipelines.
    pub fleet: Fleet,
    /// Where operators pause pipelines, if this process is to follow them.
    wanted: Option<Arc<dyn Pipelines>>,
    following: Mutex<Option<Following>>,
    store: OnceCell<Stored>,
}

/// The store that this process settles into.
pub struct Stored {
    /// The store.
    pub store: Claimed,
    /// What makes the fingerprints of cards.
    pub guard: Arc<Guard>,
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
    pub async fn store(&self) -> Result<&Stored> {
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

    /// Opens the buffers of a pipeline. [`Process::refuse_left`] comes first.
    ///
    /// # Errors
    /// If one can't be opened. With a spill, a buffer that is out of reach is no error.
    pub async fn open(&self, line: &Line) -> Result<Opened> {
        self.open_of(&self.config.lines(), line).await
    }

    /// The same of a pipeline of `lines`, which were read since the process began.
    ///
    /// # Errors
    /// As [`Process::open`].
    pub async fn open_of(&self, lines: &Lines, line: &Line) -> Result<Opened> {
        let opened = match lines.both(line).await.map_err(open::told)? {
            Some(both) => {
                // What keeps track of a move lies in the store, which is made with its key.
                if self.part.worker {
                    self.store().await?;
                }
                both.join(lines).await
            }
            None => lines.line(line).await,
        };
        opened.map_err(open::told)
    }

    /// Refuses buffers that a move has left. A store that is out of reach is no obstacle.
    ///
    /// # Errors
    /// If a move has left one of them; what to do is in the error.
    pub async fn refuse_left(&self, lines: &[Line]) -> Result<()> {
        self.config.lines().refuse_left_of(lines).await.map_err(open::told)
    }

    /// Warnings about moves that this process does not join. A role that may not read moves has
    /// made none, and settles all the same.
    pub(crate) async fn unmoved(&self) -> Vec<String> {
        if !self.part.worker {
            return Vec::new();
        }
        self.config.lines().unmoved().await.unwrap_or_else(|error| {
            tracing::warn!("cannot look for moves from or to another buffer: {error}");
            Vec::new()
        })
    }

    /// The store, if it is open.
    #[must_use]
    pub fn open_store(&self) -> Option<&Claimed> {
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
