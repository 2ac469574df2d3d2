//! The buffer: the contract's steps handed to where they are done.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;
use tokio::time::Instant;

use crate::client::Failure;
use crate::shared::Shared;
use crate::{Options, inspect, keeper};

/// A buffer in a queue of SQS.
pub struct SqsBuffer {
    pub(crate) shared: Arc<Shared>,
}

impl SqsBuffer {
    /// Opens the buffer of this queue. Needs a tokio runtime, for as long as it is open; dropped, it
    /// gives back what it holds as long as that runtime goes on.
    ///
    /// # Errors
    /// [`Error::Open`] if the options can't be used, a queue is missing or there are no credentials,
    /// [`Error::Unavailable`] if SQS can't be reached (unless [`Options::lazy`]).
    pub async fn open(options: Options) -> Result<Self, Error> {
        let lazy = options.lazy;
        let shared = Arc::new(Shared::new(options)?);
        match shared.ensure_open().await {
            Err(Error::Unavailable(why)) if lazy => {
                tracing::warn!(%why, "sqs can't be reached yet; it is tried again when needed");
            }
            opened => {
                opened?;
            }
        }
        tokio::spawn(keeper::keep(Arc::clone(&shared)));
        Ok(Self { shared })
    }
}

impl Drop for SqsBuffer {
    fn drop(&mut self) {
        self.shared.set_closed();
        self.shared.set_dropped();
    }
}

impl Shared {
    /// As SQS counts, with what this process knows better: what it holds and nobody leases.
    pub(crate) async fn depth_now(&self) -> Result<Depth, Error> {
        let about = self.client.about(&self.queue).await.map_err(Failure::error)?;
        let dead = self.client.about(&self.dead).await.map_err(Failure::error)?;
        let mut state = self.state();
        let nobodys = state.nobodys(Instant::now()).min(about.in_flight);
        Ok(Depth {
            ready: about.visible + about.delayed + nobodys,
            leased: about.in_flight - nobodys,
            dead: dead.visible + dead.delayed + dead.in_flight,
            oldest_accepted_ms: state
                .oldest_accepted_ms(about.visible + about.delayed + about.in_flight),
        })
    }
}

#[async_trait]
impl Buffer for SqsBuffer {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        self.shared.offer_now(events).await
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.shared.lease_now(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.shared.ack_now(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.shared.release_now(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.shared.bury_now(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.shared.extend_now(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.shared.depth_now().await
    }

    fn kind(&self) -> Kind {
        let shared = &self.shared;
        let (durable, survives) = inspect::kind(&shared.options, shared.opened.get());
        Kind { name: "sqs", survives, durable, shared: true, counts_leases: true }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }

    async fn close(&self) -> Result<(), Error> {
        self.shared.close_now().await;
        Ok(())
    }
}
