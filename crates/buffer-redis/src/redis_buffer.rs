//! The buffer: offers, and the contract's steps handed to where they are done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;

use crate::durability;
use crate::failure::{Failure, full};
use crate::keeper::Kept;
use crate::options::Options;
use crate::provider::Open;
use crate::shared::Shared;

const MIB: u64 = 1024 * 1024;
/// Most bytes of one offer: Redis takes no command of more than a gigabyte.
const OFFER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A buffer in Redis. All those of a process on one Redis share connections, background tasks and one poll.
pub struct RedisBuffer {
    pub(crate) shared: Arc<Shared>,
    /// Its place among them, until it is dropped.
    _open: Open,
}

impl RedisBuffer {
    /// Opens the buffer of this name, or makes it. Needs a tokio runtime, for as long as it is open.
    ///
    /// # Errors
    /// [`Error::Open`] if the options can't be used or the buffer there is another one,
    /// [`Error::Unavailable`] if Redis can't be reached (unless [`Options::lazy`]).
    pub async fn open(options: Options) -> Result<Self, Error> {
        options.validate()?;
        let lazy = options.lazy;
        let shared = Arc::new(Shared::new(options));
        match shared.ensure_open().await.map_err(Failure::at_open) {
            Err(Error::Unavailable(why)) if lazy => {
                tracing::warn!(%why, "redis can't be reached yet; it is tried again when needed");
            }
            opened => opened?,
        }
        let kept: Arc<dyn Kept> = Arc::<Shared>::clone(&shared);
        let open = shared.place.provider.open(Arc::downgrade(&kept), &shared.watch);
        Ok(Self { shared, _open: open })
    }
}

#[async_trait]
impl Buffer for RedisBuffer {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        let shared = &self.shared;
        if shared.is_closed() {
            return Err(Error::Closed);
        }
        let max = shared.place.options.events_max;
        if events.len() > max {
            return Err(Error::TooMany { got: events.len(), max });
        }
        let bytes: usize = events.iter().map(|event| event.as_bytes().len()).sum();
        if bytes > OFFER_BYTES_MAX {
            return Err(Error::TooMany { got: bytes, max: OFFER_BYTES_MAX });
        }
        if events.is_empty() {
            return Ok(());
        }
        if shared.memory_over.load(Ordering::Relaxed) > 0 {
            return Err(shared.memory_full());
        }
        let offered = shared.opened(|| shared.offer_now(events)).await;
        offered.map_err(|failure| match failure {
            Failure::Full => full(format!("events_max = {max} events")),
            failure => failure.error(),
        })?;
        shared.watch.wake();
        Ok(())
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.shared.lease_now(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.shared.ack_now(receipts).await.map_err(Failure::error)
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.shared.release_now(receipts, delay).await.map_err(Failure::error)
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.shared.bury_now(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        let member = self.shared.state().member.clone();
        match self.shared.extend_now(receipts, by).await {
            // Others hold them now, or will: what is asked for can't be had.
            Err(Failure::Fenced) => {
                self.shared.fenced(&member);
                Ok(0)
            }
            done => done.map_err(Failure::error),
        }
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let shared = &self.shared;
        shared.opened(|| shared.place.depth()).await.map_err(Failure::error)
    }

    fn kind(&self) -> Kind {
        let known = self.shared.durable.get();
        let (durable, survives) = known.copied().unwrap_or((false, durability::UNKNOWN));
        Kind { name: "redis", survives, durable, shared: true, counts_leases: true }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }

    async fn close(&self) -> Result<(), Error> {
        self.shared.close_now().await
    }
}

impl Shared {
    fn memory_full(&self) -> Error {
        let mib = self.memory_bound.load(Ordering::Relaxed).div_ceil(MIB);
        let whose = match self.place.options.memory_max_bytes {
            0 => ", nine tenths of its maxmemory",
            _ => "",
        };
        full(format!("memory_max_mib = {mib} MiB used by Redis{whose}"))
    }
}
