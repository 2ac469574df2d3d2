//! How much room there is, as far as one process can tell.
//!
//! SQS counts nearly, and late (by AWS's word, up to a minute after the last change). In between this
//! process adds what it offers and takes off what it deletes; what others do it learns with the next
//! look. So several processes together may go past the bound by what they offer meanwhile.

use tokio::time::Instant;

/// The count, and what happened since.
#[derive(Debug, Default)]
pub(crate) struct Room {
    counted: u64,
    looked_at: Option<Instant>,
    /// Offered since the look began, answered or not.
    offered: u64,
    /// Of these, not answered yet.
    open: u64,
    /// Done since the look ended.
    done: u64,
}

/// A look that has begun: what was open and offered by then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    open: u64,
    offered: u64,
}

impl Room {
    /// How many there may be.
    pub(crate) fn held(&self) -> u64 {
        (self.counted + self.offered).saturating_sub(self.done)
    }

    /// When the last look ended.
    pub(crate) fn looked_at(&self) -> Option<Instant> {
        self.looked_at
    }

    pub(crate) fn begin(&self) -> Look {
        Look { open: self.open, offered: self.offered }
    }

    /// The count was this. What was open when the look began, and all that came since, may or may not
    /// be in it: it is counted on top, which refuses too early rather than too late.
    pub(crate) fn counted(&mut self, look: Look, count: u64, now: Instant) {
        let since = self.offered.saturating_sub(look.offered);
        (self.counted, self.offered, self.done) = (count, look.open + since, 0);
        self.looked_at = Some(now);
    }

    /// Takes room for `count` if there is so much below `max`.
    pub(crate) fn take(&mut self, count: u64, max: u64) -> bool {
        let fits = self.held() + count <= max;
        if fits {
            self.offered += count;
            self.open += count;
        }
        fits
    }

    /// An offer of so many was answered.
    pub(crate) fn answered(&mut self, count: u64) {
        self.open = self.open.saturating_sub(count);
    }

    /// So many are gone.
    pub(crate) fn done(&mut self, count: u64) {
        self.done += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_refuses_too_early_rather_than_too_late() {
        let now = Instant::now();
        let mut room = Room::default();
        room.counted(room.begin(), 5, now);
        assert!(!room.take(6, 10) && room.take(5, 10) && !room.take(1, 10));
        room.answered(3);
        let look = room.begin();
        room.done(4);
        assert!(room.take(4, 10));
        room.counted(look, 8, now);
        // The two that were open and the four offered since are on top.
        assert_eq!(room.held(), 14);
        room.answered(6);
        room.counted(room.begin(), 10, now);
        assert_eq!(room.held(), 10);
    }
}
