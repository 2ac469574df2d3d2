//! Both buffers of a spill, and which of them takes offers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Event;
use tokio::sync::RwLock;

use super::figures::Figures;
use crate::{Buffer, Error};

/// What the spill shares with its drain.
pub(super) struct Shared {
    pub(super) primary: Arc<dyn Buffer>,
    pub(super) local: Arc<dyn Buffer>,
    /// Whether offers go to the spill. It is set under `gate` held for reading, by offers that then
    /// write to the spill under the same guard; it is unset under `gate` held for writing, once the
    /// spill is found empty. So it is never unset while an offer is on its way into the spill, and
    /// whoever reads that it is unset knows that all spilled before is with the primary.
    spilling: AtomicBool,
    gate: RwLock<()>,
    pub(super) figures: Figures,
}

impl Shared {
    pub(super) fn new(primary: Arc<dyn Buffer>, local: Arc<dyn Buffer>, figures: Figures) -> Self {
        // Until the spill was looked into, it may hold something.
        let spilling = AtomicBool::new(true);
        Self { primary, local, spilling, gate: RwLock::new(()), figures }
    }

    pub(super) fn is_spilling(&self) -> bool {
        self.spilling.load(Ordering::SeqCst)
    }

    pub(super) async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        let mut unavailable = None;
        loop {
            if unavailable.is_none() && !self.is_spilling() {
                match self.primary.offer(events).await {
                    Err(Error::Unavailable(cause) | Error::Open(cause) | Error::Held(cause)) => {
                        unavailable = Some(cause);
                    }
                    answer => return answer,
                }
            }
            let _open = self.gate.read().await;
            if unavailable.is_none() && !self.is_spilling() {
                // Emptied while we waited at the gate.
                continue;
            }
            return self.spill(events, unavailable).await;
        }
    }

    /// Only under the gate.
    async fn spill(&self, events: &[Event], unavailable: Option<String>) -> Result<(), Error> {
        if !self.spilling.swap(true, Ordering::SeqCst) {
            let cause = unavailable.as_deref().unwrap_or_default();
            tracing::warn!(cause, "the buffer is unavailable: events go to the spill from now on");
        }
        match self.local.offer(events).await {
            Ok(()) => {
                self.figures.spilled(events.len());
                Ok(())
            }
            Err(Error::Full { bound, retry_after }) => {
                Err(Error::Full { bound: format!("spill: {bound}"), retry_after })
            }
            Err(error @ (Error::TooMany { .. } | Error::Closed)) => Err(error),
            // The caller's way out is the primary's return, whatever ails the spill.
            Err(error) => {
                let cause = unavailable.unwrap_or_else(|| "earlier events are spilled".to_owned());
                Err(Error::Unavailable(format!("{cause}; and the spill refused: {error}")))
            }
        }
    }

    /// Lets offers go to the primary again if nothing is in the spill, nor on its way there.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        let _closed = self.gate.write().await;
        let depth = self.local.depth().await?;
        self.figures.show(Some(depth));
        if depth.ready + depth.leased == 0 {
            self.spilling.store(false, Ordering::SeqCst);
        }
        Ok(())
    }
}
