//! A buffer that remembers what it accepted, so that it can be read before it is settled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;

use crate::known::cost;
use crate::shared::Shared;

/// When to come back, once as many rows are pending as may be: settling has to catch up.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// See the module. Leases, acks and the rest go past it.
pub(crate) struct Overlay {
    pub(crate) shared: Arc<Shared>,
}

#[async_trait]
impl Buffer for Overlay {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        let shared = &*self.shared;
        let bytes = events.iter().map(cost).sum();
        let Some(room) = shared.known.room(events.len(), bytes) else {
            let rows = shared.known.pending();
            let bound = format!("{rows} rows are not settled yet");
            return Err(Error::Full { bound, retry_after: RETRY_AFTER });
        };
        shared.cover().await?;
        shared.buffer.offer(events).await?;
        shared.accepted(events);
        drop(room);
        Ok(())
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.shared.buffer.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.shared.buffer.ack(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.shared.buffer.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.shared.buffer.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.shared.buffer.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.shared.buffer.depth().await
    }

    async fn spilled(&self) -> Result<Option<Depth>, Error> {
        self.shared.buffer.spilled().await
    }

    fn empty_places(&self) -> u64 {
        self.shared.buffer.empty_places()
    }

    fn kind(&self) -> Kind {
        self.shared.buffer.kind()
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.shared.buffer.dead_letters()
    }

    async fn close(&self) -> Result<(), Error> {
        self.shared.buffer.close().await
    }
}
