//! A buffer in memory that fails as scripted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::Memory;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;

/// Fails the first so many calls of a kind, and then works.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) lease: AtomicUsize,
    pub(crate) ack: AtomicUsize,
    pub(crate) release: AtomicUsize,
    pub(crate) bury: AtomicUsize,
    pub(crate) extend: AtomicUsize,
    pub(crate) corrupt: AtomicUsize,
    /// How long a release takes before it has its effect.
    pub(crate) release_takes: Duration,
    /// What it says of itself instead.
    pub(crate) kind: Option<Kind>,
}

pub(crate) struct Faulty(pub(crate) Arc<Memory>, pub(crate) Faults);

fn fails(left: &AtomicUsize) -> Result<(), Error> {
    let one_less = |left: usize| left.checked_sub(1);
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
        Ok(_) => Err(Error::Unavailable("as scripted".to_owned())),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl Buffer for Faulty {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        self.0.offer(events).await
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        fails(&self.1.lease)?;
        fails(&self.1.corrupt).map_err(|_| Error::Corrupt("segment 7".to_owned()))?;
        self.0.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        fails(&self.1.ack)?;
        self.0.ack(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        fails(&self.1.release)?;
        tokio::time::sleep(self.1.release_takes).await;
        self.0.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        fails(&self.1.bury)?;
        self.0.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        fails(&self.1.extend)?;
        self.0.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.0.depth().await
    }

    fn kind(&self) -> Kind {
        self.1.kind.clone().unwrap_or_else(|| self.0.kind())
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.0.dead_letters()
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.close().await
    }
}
