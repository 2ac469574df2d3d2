//! A card's latest payments by event time: what velocity is counted over, and what a repeat is
//! told by.
//!
//! What is retained is the head of one order, newest first: by event time, and among equal times by
//! order of settling, later first. Of that order stay the payments newer than the newest minus twice
//! the window, but always [`Retention::keep_min`] of them and never more than [`RECENT_MAX`].
//!
//! Why this can be built up one payment at a time and still depends on the whole list alone: a
//! payment's place in the order only moves back as others arrive, and the time bound only moves
//! forward, so that what was dropped once would be dropped ever after; and a late payment that sorts
//! after a dropped one is dropped by the same bound.

use std::hash::Hasher;

use model::clock::EpochMs;

/// Of one card, no more payments than this are remembered one by one, nor asked of the store.
pub const RECENT_MAX: usize = 256;

/// Keeps memory small where payments are few: room grows from two slots on by doubling.
const SLOTS_FIRST: usize = 2;

/// What to retain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// How far back from the newest payment.
    pub(crate) span_ms: i64,
    /// How many at least, however old.
    pub(crate) keep_min: usize,
}

/// A payment as it is remembered: 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    at_ms: EpochMs,
    id_hash: u64,
}

/// Older than every payment, so that vacant slots sort to the front.
const VACANT: Slot = Slot { at_ms: i64::MIN, id_hash: 0 };

impl Slot {
    pub(crate) fn new(tx_id: &str, at_ms: EpochMs) -> Self {
        // SipHash with a fixed key: the same in every process, and not to be steered into
        // collisions as cheaply as a multiplying hash, which would hide payments from the window.
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(tx_id.as_bytes());
        Self { at_ms: at_ms.max(VACANT.at_ms + 1), id_hash: hasher.finish().max(1) }
    }
}

/// Retained payments, oldest first, behind as many vacant slots as there is room to spare.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    slots: Box<[Slot]>,
}

impl Latest {
    /// What is retained of `recent`, the latest payments of a card, oldest first.
    pub(crate) fn rebuilt(
        recent: impl ExactSizeIterator<Item = Slot>,
        retention: Retention,
    ) -> Self {
        let past_bound = recent.len().saturating_sub(RECENT_MAX);
        let mut slots: Vec<Slot> = recent.skip(past_bound).collect();
        debug_assert!(slots.is_sorted_by_key(|slot| slot.at_ms), "histories come oldest first");
        if let Some(newest) = slots.last() {
            let keep = keep(&slots, newest.at_ms, None, retention);
            slots.drain(..slots.len().saturating_sub(keep));
        }
        Self { slots: slots.into_boxed_slice() }
    }

    /// Looks for `slot` itself, and counts the others in `(at − window_ms, at]`.
    pub(crate) fn look(&self, slot: Slot, window_ms: i64) -> (bool, u32) {
        let after_ms = slot.at_ms.saturating_sub(window_ms);
        let mut repeat = false;
        let mut in_window = 0;
        for other in &self.slots {
            let same = other.id_hash == slot.id_hash;
            let inside = other.at_ms > after_ms && other.at_ms <= slot.at_ms;
            repeat |= same;
            in_window += u32::from(inside && !same);
        }
        (repeat, in_window)
    }

    /// Remembers `slot`, and forgets what is no longer to be retained.
    pub(crate) fn insert(&mut self, slot: Slot, retention: Retention) {
        let newest_ms = self.slots.last().map_or(slot.at_ms, |last| last.at_ms.max(slot.at_ms));
        let keep = keep(&self.slots, newest_ms, Some(slot), retention);
        let vacant = self.slots.first().is_some_and(|first| *first == VACANT);
        if !vacant && self.slots.len() < keep {
            // Most cards never need more than the minimum: there, room is exact.
            let few = self.slots.len() < retention.keep_min;
            let bound = if few { retention.keep_min } else { RECENT_MAX };
            self.resize((self.slots.len() * 2).max(SLOTS_FIRST).min(bound));
        }
        let place = match self.slots.last() {
            Some(last) if last.at_ms <= slot.at_ms => self.slots.len(),
            _ => self.slots.partition_point(|other| other.at_ms <= slot.at_ms),
        };
        // Nothing vacant and older than all: it is past the bound itself.
        if place > 0 {
            self.slots.copy_within(1..place, 0);
            self.slots[place - 1] = slot;
        }
        let spare = self.slots.len().saturating_sub(keep);
        self.slots[..spare].fill(VACANT);
        if keep == retention.keep_min && self.slots.len() > 2 * retention.keep_min {
            self.resize(retention.keep_min);
        }
    }

    /// The newest stay; what is added is vacant.
    fn resize(&mut self, room: usize) {
        let kept = room.min(self.slots.len());
        let mut slots = Vec::with_capacity(room);
        slots.resize(room - kept, VACANT);
        slots.extend_from_slice(&self.slots[self.slots.len() - kept..]);
        self.slots = slots.into_boxed_slice();
    }
}

/// How many of `slots` (sorted) and `added` are to be retained, once there are that many.
fn keep(slots: &[Slot], newest_ms: EpochMs, added: Option<Slot>, retention: Retention) -> usize {
    let bound_ms = newest_ms.saturating_sub(retention.span_ms);
    let inside = slots.iter().rev().take_while(|slot| slot.at_ms > bound_ms).count();
    let inside = inside + usize::from(added.is_some_and(|slot| slot.at_ms > bound_ms));
    inside.clamp(retention.keep_min, RECENT_MAX)
}

impl PartialEq for Latest {
    /// Room to spare makes no difference.
    fn eq(&self, other: &Self) -> bool {
        let held = |latest: &Self| latest.slots.iter().position(|slot| *slot != VACANT);
        let (ours, theirs) = (held(self), held(other));
        ours.map_or(&[][..], |at| &self.slots[at..])
            == theirs.map_or(&[][..], |at| &other.slots[at..])
    }
}

#[cfg(test)]
mod tests;
