//! The end of an event in the buffer: acked, or buried. Burying includes the ack, so that no event can vanish between
//! the two.

use std::time::Duration;

use buffer::{Class, Classify, Receipt};

use crate::Error;
use crate::backoff::is_said;
use crate::shared::Shared;

/// After how long a bad event comes again that found no room among the dead letters.
const ROOM_PAUSE: Duration = Duration::from_secs(5);

/// Events on their way to the dead letters.
pub(crate) struct Burial<'a> {
    left: &'a [(Receipt, String)],
    /// Whether those that find no room are kept, and tried again.
    keeps: bool,
    /// Buried at once; fewer while there is little room.
    together: usize,
    failures: u32,
    /// How many are buried.
    pub(crate) buried: u64,
    /// Receipts of which some were passed over: another worker may hold those events now, and decides about
    /// them.
    pub(crate) lost: Vec<Receipt>,
}

impl<'a> Burial<'a> {
    /// Events that find no room go back to the buffer, and are rejected again when they are leased again.
    pub(crate) fn of(burials: &'a [(Receipt, String)]) -> Self {
        let (together, lost) = (burials.len(), Vec::new());
        Self { left: burials, keeps: false, together, failures: 0, buried: 0, lost }
    }

    /// Events that find no room are kept, each with its key. A later call of such an event may succeed: after a release
    /// it could have its effect behind later events of its key.
    pub(crate) fn kept(burials: &'a [(Receipt, String)]) -> Self {
        Self { keeps: true, ..Self::of(burials) }
    }

    /// Buries what is left. Returns how often it failed if it has to be tried again after a wait: an event must
    /// not be given up before it is durably among the dead. What there is no room for among the dead letters goes
    /// back: it must not keep its neighbours waiting.
    ///
    /// # Errors
    /// If the buffer can't go on.
    pub(crate) async fn attempt(
        &mut self,
        shared: &Shared,
        lane: usize,
    ) -> Result<Option<u32>, Error> {
        while !self.left.is_empty() {
            self.together = self.together.min(self.left.len());
            let (these, rest) = self.left.split_at(self.together);
            let error = match shared.buffer.bury(these).await {
                Ok(count) => {
                    self.buried += count as u64;
                    if count < these.len() {
                        self.lost.extend(these.iter().map(|(receipt, _)| *receipt));
                    }
                    self.left = rest;
                    continue;
                }
                // A buffer takes all of them or none.
                Err(buffer::Error::Full { .. }) if self.together > 1 => {
                    self.together /= 2;
                    continue;
                }
                Err(error @ buffer::Error::Full { .. }) if !self.keeps => {
                    give_back(shared, lane, self.left, &error).await;
                    self.left = &[];
                    break;
                }
                Err(error) => error,
            };
            let is_full = matches!(error, buffer::Error::Full { .. });
            if !is_full && error.class() != Class::Retryable {
                return Err(error.into());
            }
            self.failures += 1;
            if is_said(self.failures) {
                let events = self.left.len();
                tracing::warn!(
                    lane,
                    events,
                    %error,
                    "cannot bury events; trying again (if the dead letters are full, drop some)"
                );
            }
            return Ok(Some(self.failures));
        }
        Ok(None)
    }
}

/// Bad events that find no room come again after a while, and are bad then too. If this fails they come
/// when their leases expire.
async fn give_back(
    shared: &Shared,
    lane: usize,
    burials: &[(Receipt, String)],
    full: &buffer::Error,
) {
    let events = burials.len();
    tracing::warn!(
        lane,
        events,
        %full,
        "bad events are given back until there is room: replay or drop dead letters"
    );
    let receipts: Vec<Receipt> = burials.iter().map(|(receipt, _)| *receipt).collect();
    if let Err(error) = shared.buffer.release(&receipts, ROOM_PAUSE).await {
        tracing::warn!(lane, events, %error, "they could not be given back; they come when their leases end");
    }
}

/// An ack that fails is not tried again: the events come again when their leases expire, and
/// are found to be duplicates.
pub(crate) async fn ack(shared: &Shared, lane: usize, receipts: &[Receipt]) {
    if receipts.is_empty() {
        return;
    }
    if let Err(error) = shared.buffer.ack(receipts).await {
        let events = receipts.len();
        tracing::warn!(lane, events, %error, "settled events could not be acked; they come again");
    }
}
