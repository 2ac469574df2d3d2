//! What is known of one card.

use model::Payment;
use store::History;
use store::card::Fingerprint;

use crate::latest::{Latest, RECENT_MAX, Retention, Slot};
use crate::number::Number;
use crate::rules::Before;
use crate::ruleset::Ruleset;

/// Fewer payments than this are never remembered of a card that had as many.
const KEEP_MIN: usize = 8;

impl Retention {
    /// What velocity needs, twice: two windows back, and twice as many payments as have to come
    /// before the one that fires it, so that a few with a date far ahead do not push out the rest.
    pub(crate) fn of(ruleset: &Ruleset) -> Self {
        let velocity = &ruleset.velocity;
        let needed = usize::try_from(velocity.payments_min).unwrap_or(RECENT_MAX).saturating_sub(1);
        Self {
            span_ms: velocity.window_ms.saturating_mul(2),
            keep_min: needed.saturating_mul(2).clamp(KEEP_MIN, RECENT_MAX),
        }
    }
}

/// One card, in one piece: memory is what a card costs, both its size and the time to reach it.
/// It is three cache lines: one with all but the latest payments, and two with those.
#[derive(Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct State {
    number: Number,
    count: u64,
    sum: i128,
    fingerprint: Fingerprint,
    latest: Latest,
}

const _: () = assert!(size_of::<State>() == 192, "a card takes three cache lines");

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

    /// See [`Latest::touch`].
    pub(crate) fn touch(&self) {
        self.latest.touch();
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
