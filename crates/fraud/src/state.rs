//! What is known of one card.

use model::Payment;
use store::History;
use store::card::Fingerprint;

pub use crate::latest::RECENT_MAX;
use crate::latest::{Latest, Retention, Slot};
use crate::number::Number;
use crate::rules::Before;
use crate::ruleset::Ruleset;

/// Fewer payments than this are never remembered of a card that had as many.
const KEEP_MIN: usize = 8;

impl Retention {
    pub(crate) fn of(ruleset: &Ruleset) -> Self {
        let payments_min = usize::try_from(ruleset.velocity.payments_min).unwrap_or(RECENT_MAX);
        Self {
            span_ms: ruleset.velocity.window_ms.saturating_mul(2),
            keep_min: KEEP_MIN.max(payments_min.saturating_mul(2)).min(RECENT_MAX),
        }
    }
}

/// One card: exactly one cache line, and the latest payments behind one pointer.
#[derive(Debug, PartialEq)]
#[repr(align(64))]
pub(crate) struct State {
    sum: i128,
    fingerprint: Fingerprint,
    latest: Latest,
    number: Number,
    count: u64,
}

const _: () = assert!(size_of::<State>() == 64, "a card's state is one cache line");

impl State {
    /// The state after the payments that `history` tells of. It equals that of a card which was
    /// [observed](State::observe) all along, if `history` has the [`RECENT_MAX`] latest payments.
    pub(crate) fn rebuilt(
        number: Number,
        fingerprint: Fingerprint,
        history: &History,
        retention: Retention,
    ) -> Self {
        let slots = history.recent.iter().map(|one| Slot::new(&one.tx_id, one.created_at_ms));
        Self {
            sum: history.sum,
            fingerprint,
            latest: Latest::rebuilt(slots, retention),
            number,
            count: history.count,
        }
    }

    pub(crate) fn number(&self) -> Number {
        self.number
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Counts `payment`, unless it is remembered already. Returns whether it was, and what was
    /// known before.
    pub(crate) fn observe(
        &mut self,
        payment: &Payment<'_>,
        window_ms: i64,
        retention: Retention,
    ) -> (bool, Before) {
        let slot = Slot::new(&payment.tx_id, payment.created_at_ms);
        let (repeat, in_window) = self.latest.look(slot, window_ms);
        let before = Before { in_window, count: self.count, sum: self.sum };
        if !repeat {
            self.latest.insert(slot, retention);
            self.count += 1;
            self.sum += i128::from(payment.amount);
        }
        (repeat, before)
    }
}
