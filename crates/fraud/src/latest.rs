//! A card's latest payments by event time: what velocity is counted over, and what a repeat is
//! told by.
//!
//! What is retained is the head of one order, newest first: by event time, and among equal times by
//! order of settling, later first. Of that order stay the payments newer than the newest minus twice
//! the window, but always [`Retention::keep_min`] of them and never more than [`RECENT_MAX`].
//!
//! Velocity therefore counts every payment in the window of one that comes late, if it lies at most
//! one window behind the newest and no more than [`RECENT_MAX`] payments are newer than its window;
//! or, however late it is, if no more than [`Retention::keep_min`] are. Past both bounds it may count
//! fewer, never more.
//!
//! Why this can be built up one payment at a time and still depends on the whole list alone: a
//! payment's place in the order only moves back as others arrive, and the time bound only moves
//! forward, so that what was dropped once would be dropped ever after; and a late payment that sorts
//! after a dropped one is dropped by the same bound.

use std::hash::Hasher;

use model::clock::EpochMs;

/// Of one card, no more payments than this are remembered one by one, nor asked of the store.
pub const RECENT_MAX: usize = 256;

/// Of most cards no more than this are remembered, and they lie in the card's own memory: one visit
/// finds all there is to know. It is what is retained at least by the default rules.
const ROOM_INLINE: usize = 8;

/// What to retain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Latest {
    /// Where all of them are while there are more than fit inline; else empty.
    burst: Box<[Slot]>,
    inline: [Slot; ROOM_INLINE],
}

impl Default for Latest {
    fn default() -> Self {
        Self { burst: Box::default(), inline: [VACANT; ROOM_INLINE] }
    }
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
        let mut latest = Self::default();
        latest.place(&slots, slots.len());
        latest
    }

    /// Asks for the memory early, so that several cards can be on their way at once: waiting for it
    /// is most of what screening costs.
    pub(crate) fn touch(&self) {
        // One of each cache line.
        std::hint::black_box((self.inline[0].at_ms, self.inline[ROOM_INLINE - 1].at_ms));
    }

    /// Looks for `slot` itself, and counts the others in `(at − window_ms, at]`.
    pub(crate) fn look(&self, slot: Slot, window_ms: i64) -> (bool, u32) {
        let after_ms = slot.at_ms.saturating_sub(window_ms);
        let mut repeat = false;
        let mut in_window = 0;
        for other in self.slots() {
            let same = other.id_hash == slot.id_hash;
            let inside = other.at_ms > after_ms && other.at_ms <= slot.at_ms;
            repeat |= same;
            in_window += u32::from(inside && !same);
        }
        (repeat, in_window)
    }

    /// Remembers `slot`, and forgets what is no longer to be retained.
    pub(crate) fn insert(&mut self, slot: Slot, retention: Retention) {
        let slots = self.slots();
        let newest_ms = slots.last().map_or(slot.at_ms, |last| last.at_ms.max(slot.at_ms));
        let keep = keep(slots, newest_ms, Some(slot), retention);
        if slots[0] != VACANT && slots.len() < keep {
            self.resize((slots.len() * 2).min(RECENT_MAX));
        }
        let slots = self.slots_mut();
        let place = match slots.last() {
            Some(last) if last.at_ms <= slot.at_ms => slots.len(),
            _ => slots.partition_point(|other| other.at_ms <= slot.at_ms),
        };
        // Nothing vacant and older than all: it is past the bound itself.
        if place > 0 {
            slots.copy_within(1..place, 0);
            slots[place - 1] = slot;
        }
        let spare = slots.len().saturating_sub(keep);
        slots[..spare].fill(VACANT);
        // Room is given back late enough that a card does not go back and forth.
        if !self.burst.is_empty() && (keep <= ROOM_INLINE || self.burst.len() > 4 * keep) {
            self.resize(keep);
        }
    }

    fn slots(&self) -> &[Slot] {
        if self.burst.is_empty() { &self.inline } else { &self.burst }
    }

    fn slots_mut(&mut self) -> &mut [Slot] {
        if self.burst.is_empty() { &mut self.inline } else { &mut self.burst }
    }

    fn resize(&mut self, room: usize) {
        let slots = self.slots().to_vec();
        self.place(&slots, room);
    }

    /// Puts the newest of `slots` where there is `room` for them, or somewhat more.
    fn place(&mut self, slots: &[Slot], room: usize) {
        self.burst =
            if room > ROOM_INLINE { vec![VACANT; room].into_boxed_slice() } else { Box::default() };
        let places = self.slots_mut();
        let kept = places.len().min(slots.len());
        let (spare, used) = places.split_at_mut(places.len() - kept);
        spare.fill(VACANT);
        used.copy_from_slice(&slots[slots.len() - kept..]);
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
        let held = |latest: &Self| latest.slots().iter().filter(|slot| **slot != VACANT).count();
        let (ours, theirs) = (held(self), held(other));
        ours == theirs
            && self.slots().iter().rev().take(ours).eq(other.slots().iter().rev().take(ours))
    }
}

#[cfg(test)]
mod tests;
