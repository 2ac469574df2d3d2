//! A buffer behind which a local one stands in while the first can't be reached.
//!
//! An offer goes to the primary. If that is unavailable, it goes to the local buffer, the spill, and
//! is accepted as durably as that one keeps it. From then on all offers of this process go there,
//! behind what is there, while a task hands what was spilled to the primary in order; once nothing
//! is left, offers go to the primary again. What an earlier process left in the spill is handed
//! over in the same way, before anything new.
//!
//! Invariants
//! - What this process accepts one after the other reaches the primary in that order: no offer
//!   overtakes an earlier one by going past the spill.
//! - What was spilled leaves the spill only once the primary has accepted it. A crash in between,
//!   or a primary whose answer was lost, makes duplicates, which the store dedupes.
//! - A primary is stood in for that is unavailable, or that refuses what may be put right while this
//!   process runs (a right, a queue that is gone). One that is full refuses, and any other failure is
//!   the caller's to see.
//!
//! What it deliberately does not do: it leases nothing from the spill, so nothing is settled that
//! the primary does not know; and it keeps no order with other processes, each of which spills for
//! itself. An event's time of acceptance in the primary is when it was handed over.

mod drain;
mod figures;
mod shared;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::Event;
use model::clock::Clock;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;

use crate::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use figures::Figures;
use shared::Shared;

/// How long [`Buffer::close`] waits for the hand-over under way. What it does not finish stays in
/// the spill.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// A primary buffer and the local one that stands in for it. Dropping it stops the handing over.
pub struct Spill {
    shared: Arc<Shared>,
    /// Whether the spill was looked into since the start.
    looked: OnceCell<()>,
    stop: watch::Sender<bool>,
    drain: Mutex<Option<JoinHandle<()>>>,
}

impl Spill {
    /// Stands `local` in for `primary`, and begins to hand over what `local` holds already. Nobody
    /// else may lease from `local`. Ages follow `clock`; metrics go to the recorder that is
    /// installed by now.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(primary: Arc<dyn Buffer>, local: Arc<dyn Buffer>, clock: Arc<dyn Clock>) -> Self {
        Self::named(primary.kind().name, primary, local, clock)
    }

    /// The same, with metrics under this name: where several buffers of one kind have spills.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn named(
        name: &str,
        primary: Arc<dyn Buffer>,
        local: Arc<dyn Buffer>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let figures = Figures::new(name, clock);
        let shared = Arc::new(Shared::new(primary, local, figures));
        let (stop, stopped) = watch::channel(false);
        let drain = tokio::spawn(drain::run(Arc::clone(&shared), stopped));
        Self { shared, looked: OnceCell::new(), stop, drain: Mutex::new(Some(drain)) }
    }

    /// Ends the drain, with what it is doing if that takes no longer than [`CLOSE_MAX`].
    async fn stop(&self) {
        let _ = self.stop.send(true);
        let drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut drain) = drain else { return };
        if tokio::time::timeout(CLOSE_MAX, &mut drain).await.is_err() {
            tracing::warn!("the spill's hand-over does not end; what it held stays in the spill");
            drain.abort();
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        let drain = self.drain.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(drain) = drain.take() {
            drain.abort();
        }
    }
}

#[async_trait]
impl Buffer for Spill {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        // So that the first offers don't take a detour through an empty spill. If it can't be
        // read they do, and are told what is wrong with it.
        let _ = self.looked.get_or_try_init(|| self.shared.settle()).await;
        self.shared.offer(events).await
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.shared.primary.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.shared.primary.ack(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.shared.primary.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.shared.primary.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.shared.primary.extend(receipts, by).await
    }

    /// The primary's, and as ready what the spill holds. An error if either can't be read;
    /// [`Buffer::spilled`] tells of the spill alone.
    async fn depth(&self) -> Result<Depth, Error> {
        let depth = self.shared.primary.depth().await?;
        let spilled = self.shared.local.depth().await?;
        let oldest = depth.oldest_accepted_ms.into_iter().chain(spilled.oldest_accepted_ms).min();
        let ready = depth.ready + spilled.ready + spilled.leased;
        Ok(Depth { ready, oldest_accepted_ms: oldest, ..depth })
    }

    /// What was not handed over. Its dead letters are events larger than anything the primary takes.
    async fn spilled(&self) -> Result<Option<Depth>, Error> {
        self.shared.local.depth().await.map(Some)
    }

    fn empty_places(&self) -> u64 {
        self.shared.primary.empty_places()
    }

    /// The primary's, which is durable only if the spill is.
    fn kind(&self) -> Kind {
        let kind = self.shared.primary.kind();
        let local = self.shared.local.kind();
        Kind { durable: kind.durable && local.durable, ..kind }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.shared.primary.dead_letters()
    }

    /// Closes both, the spill as it is: what it holds is handed over after the next start.
    async fn close(&self) -> Result<(), Error> {
        self.stop().await;
        let local = self.shared.local.close().await;
        self.shared.primary.close().await.and(local)
    }
}
