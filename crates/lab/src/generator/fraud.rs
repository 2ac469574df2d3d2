//! The frauds that are injected, and how each is made.

use model::clock::EpochMs;
use model::payment::Tier;

use super::category::{self, HOUR_MS, LUXURY, ONLINE};
use super::draft::Draft;
use super::draw::Draw;
use super::kind::Kind;
use super::pool::Pool;

/// How many cards are looked at for one that suits a fraud, before it is put off.
const CARDS_TRIED_MAX: usize = 16;
/// One minute: the window of the velocity rule.
pub(super) const VELOCITY_WINDOW_MS: i64 = 60_000;
/// From this many KRW before six in the morning it is a fraud.
const DAWN_AMOUNT: i64 = 5_000_000;
/// From this many KRW on luxury it is a fraud, for a normal user.
const UNUSUAL_AMOUNT: i64 = 10_000_000;

/// How many frauds of each kind are due, and the burst under way.
#[derive(Debug)]
pub(super) struct Frauds {
    share_each: f64,
    owed: [f64; 4],
    /// The card and how many payments it still makes.
    burst: Option<(usize, usize)>,
}

impl Frauds {
    /// `share` of all payments are frauds, each kind a quarter of them. The first of each kind
    /// comes at a random place, so that they don't come in step.
    pub(super) fn new(share: f64, draw: &mut Draw) -> Self {
        let owed = std::array::from_fn(|_| f64::from(draw.next()) / 4_294_967_296.0);
        Self { share_each: share / 4.0, owed, burst: None }
    }

    /// One more payment passes: the fraud it shall be, if one is due and can be made now.
    pub(super) fn draft(&mut self, now_ms: EpochMs, pool: &Pool, draw: &mut Draw) -> Option<Draft> {
        for owed in &mut self.owed {
            *owed += self.share_each;
        }
        // A third of the traffic while it lasts: a burst is spread among others, yet short.
        if self.burst.is_some() && draw.below(3) == 0 {
            return self.burst_payment(now_ms, pool, draw);
        }
        for kind in Kind::ALL {
            if self.owed[kind as usize] < 1.0 {
                continue;
            }
            if kind == Kind::Velocity {
                self.burst.get_or_insert_with(|| (pool.any_card(draw), 5 + draw.below(4)));
            } else if let Some(draft) = make(kind, now_ms, pool, draw) {
                self.owed[kind as usize] -= 1.0;
                return Some(draft);
            }
        }
        None
    }

    fn burst_payment(&mut self, now_ms: EpochMs, pool: &Pool, draw: &mut Draw) -> Option<Draft> {
        let (card, left) = self.burst?;
        self.burst = (left > 1).then_some((card, left - 1));
        let label = pool.cards[card].is_fifth(now_ms, VELOCITY_WINDOW_MS).then_some(Kind::Velocity);
        if label.is_some() {
            self.owed[Kind::Velocity as usize] -= 1.0;
        }
        let [small, middle, ..] = category::ALL[ONLINE].bounds;
        Some(Draft {
            card,
            category: ONLINE,
            amount: draw.within(small, middle),
            at_ms: now_ms,
            label,
        })
    }
}

fn make(kind: Kind, now_ms: EpochMs, pool: &Pool, draw: &mut Draw) -> Option<Draft> {
    let fraud = |card, category, amount, at_ms| {
        Some(Draft { card, category, amount, at_ms, label: Some(kind) })
    };
    match kind {
        Kind::Velocity => None,
        Kind::AmountSpike => {
            let card = find(pool, draw, |card| {
                let card = &pool.cards[card];
                // Below the dawn rule's amount, so that the spike alone is what is wrong.
                card.count > 5 && card.sum / card.count * 18 < DAWN_AMOUNT
            })?;
            let mean = pool.cards[card].sum / pool.cards[card].count + 1;
            fraud(card, ONLINE, mean * draw.within(12, 18), now_ms)
        }
        Kind::DawnHighAmount => {
            let card = pool.any_card(draw);
            let midnight = category::day_start(now_ms);
            let at_ms = if now_ms - midnight < 6 * HOUR_MS {
                now_ms
            } else {
                midnight + draw.within(0, 6 * HOUR_MS)
            };
            fraud(card, ONLINE, draw.within(DAWN_AMOUNT, UNUSUAL_AMOUNT), at_ms)
        }
        Kind::UnusualCategory => {
            let card = find(pool, draw, |card| pool.tier(card) == Tier::Normal)?;
            let luxury = &category::ALL[LUXURY];
            let at_ms = if luxury.is_open(now_ms) {
                now_ms
            } else {
                let (from, to) = luxury.last_opening(now_ms);
                draw.within(from, to)
            };
            fraud(card, LUXURY, draw.within(UNUSUAL_AMOUNT, 3 * UNUSUAL_AMOUNT), at_ms)
        }
    }
}

fn find(pool: &Pool, draw: &mut Draw, suits: impl Fn(usize) -> bool) -> Option<usize> {
    (0..CARDS_TRIED_MAX).map(|_| pool.any_card(draw)).find(|&card| suits(card))
}
