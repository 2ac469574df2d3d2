//! What people pay for: ten categories with opening hours, amounts and popularity.

use model::clock::EpochMs;
use model::payment::Tier;

/// One hour, in milliseconds.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// One day, in milliseconds.
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;
/// Asia/Seoul has been nine hours ahead of UTC, without summer time, since 1988: longer ago than a
/// payment may lie. A constant spares a zone lookup for each payment.
const SEOUL_MS: i64 = 9 * HOUR_MS;

/// How many categories there are.
pub const COUNT: usize = 10;

/// Something people pay for.
#[derive(Debug, PartialEq, Eq)]
pub struct Category {
    /// As it stands in a payment.
    pub name: &'static str,
    /// The hour of day (Asia/Seoul) it opens.
    pub opens: u8,
    /// The hour it closes: 24 is midnight, 26 is two in the morning.
    pub closes: u8,
    /// Where small, middle and high amounts begin, and where high ones end (exclusive), in KRW.
    pub bounds: [i64; 4],
    /// How often it is chosen when open, by tier: VIP, premium, normal.
    weights: [u32; 3],
}

/// How high an amount is for its category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    /// 70% of payments.
    Small,
    /// 25%.
    Middle,
    /// 5%.
    High,
}

const fn row(
    name: &'static str,
    (opens, closes): (u8, u8),
    bounds: [i64; 4],
    weights: [u32; 3],
) -> Category {
    Category { name, opens, closes, bounds, weights }
}

/// All of them. Every plain amount lies below the rules' thresholds for a single payment
/// (5,000,000 KRW before six, 10,000,000 KRW on luxury) at any hour its category is open.
pub const ALL: [Category; COUNT] = [
    row("convenience", (0, 24), [1_000, 8_000, 25_000, 60_000], [10, 18, 22]),
    row("coffee", (7, 23), [2_000, 8_000, 20_000, 60_000], [12, 16, 18]),
    row("restaurant", (10, 23), [7_000, 20_000, 60_000, 200_000], [16, 15, 14]),
    row("delivery", (10, 26), [12_000, 25_000, 50_000, 120_000], [8, 11, 11]),
    row("online_shopping", (0, 24), [5_000, 40_000, 150_000, 900_000], [14, 14, 12]),
    row("department_store", (10, 21), [20_000, 100_000, 400_000, 2_000_000], [16, 6, 2]),
    row("transport", (0, 24), [1_400, 10_000, 40_000, 120_000], [6, 9, 12]),
    row("grocery", (9, 23), [5_000, 40_000, 120_000, 300_000], [8, 7, 6]),
    row("pharmacy", (9, 19), [3_000, 15_000, 60_000, 200_000], [3, 3, 2]),
    row("luxury", (10, 20), [200_000, 800_000, 3_000_000, 9_000_000], [7, 1, 1]),
];

/// Where online shopping stands in [`ALL`]: the category for frauds at any hour.
pub(super) const ONLINE: usize = 4;
/// Where luxury stands in [`ALL`].
pub(super) const LUXURY: usize = 9;

impl Category {
    /// The category of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|category| category.name == name)
    }

    /// Whether it is open at that moment, in Asia/Seoul.
    #[must_use]
    pub fn is_open(&self, at_ms: EpochMs) -> bool {
        self.is_open_in(hour(at_ms))
    }

    /// How high `amount` is here; `None` when it is outside everything plain traffic pays.
    #[must_use]
    pub fn size(&self, amount: i64) -> Option<Size> {
        let [small, middle, high, end] = self.bounds;
        match amount {
            _ if amount < small || amount >= end => None,
            _ if amount < middle => Some(Size::Small),
            _ if amount < high => Some(Size::Middle),
            _ => Some(Size::High),
        }
    }

    fn is_open_in(&self, hour: u8) -> bool {
        (self.opens..self.closes).contains(&hour)
            || (self.opens..self.closes).contains(&(hour + 24))
    }

    /// The bounds of its latest opening that begins at or before `at_ms`, cut at `at_ms`.
    pub(super) fn last_opening(&self, at_ms: EpochMs) -> (EpochMs, EpochMs) {
        let opens = i64::from(self.opens) * HOUR_MS;
        let mut from = day_start(at_ms) + opens;
        if from > at_ms {
            from -= DAY_MS;
        }
        let to = from - opens + i64::from(self.closes) * HOUR_MS;
        (from, to.min(at_ms + 1))
    }
}

/// The hour of day in Asia/Seoul.
pub(super) fn hour(at_ms: EpochMs) -> u8 {
    let hour = (at_ms + SEOUL_MS).rem_euclid(DAY_MS) / HOUR_MS;
    u8::try_from(hour).expect("a remainder of a day divided by an hour is below 24")
}

/// When that day began in Asia/Seoul.
pub(super) fn day_start(at_ms: EpochMs) -> EpochMs {
    at_ms - (at_ms + SEOUL_MS).rem_euclid(DAY_MS)
}

/// Picks categories by tier and hour from ready-made running sums.
#[derive(Debug)]
pub(super) struct Picker([[[u32; COUNT]; 24]; 3]);

impl Picker {
    pub(super) fn new() -> Self {
        let mut sums = [[[0; COUNT]; 24]; 3];
        for (tier, hours) in sums.iter_mut().enumerate() {
            for (hour, row) in (0_u8..).zip(hours) {
                let mut sum = 0;
                for (cell, category) in row.iter_mut().zip(&ALL) {
                    sum += if category.is_open_in(hour) { category.weights[tier] } else { 0 };
                    *cell = sum;
                }
            }
        }
        Self(sums)
    }

    /// The category for `fraction` in [0, 2^32), as an index into [`ALL`].
    pub(super) fn pick(&self, tier: Tier, hour: u8, fraction: u32) -> usize {
        let tier = match tier {
            Tier::Vip => 0,
            Tier::Premium => 1,
            Tier::Normal => 2,
        };
        let sums = &self.0[tier][usize::from(hour)];
        let point = (u64::from(fraction) * u64::from(sums[COUNT - 1])) >> 32;
        sums.partition_point(|&sum| u64::from(sum) <= point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seoul: &str) -> EpochMs {
        let zoned: jiff::Zoned = format!("{seoul}[Asia/Seoul]").parse().unwrap();
        zoned.timestamp().as_millisecond()
    }

    #[test]
    fn the_fixed_offset_is_that_of_asia_seoul_for_every_month_a_payment_may_lie_in() {
        let zone = jiff::tz::TimeZone::get("Asia/Seoul").unwrap();
        for month in 0..12 * 40 {
            let ms = at("2006-01-01T00:00") + month * 30 * DAY_MS;
            let there = jiff::Timestamp::from_millisecond(ms).unwrap().to_zoned(zone.clone());
            assert_eq!(i64::from(hour(ms)), i64::from(there.hour()), "{there}");
        }
    }

    #[test]
    fn doors_open_and_close_on_the_hour() {
        let check = |name: &str, when: &str, open: bool| {
            let category = Category::named(name).unwrap();
            assert_eq!(category.is_open(at(when)), open, "{name} at {when}");
        };
        check("department_store", "2026-03-02T09:59:59.999", false);
        check("department_store", "2026-03-02T10:00", true);
        check("department_store", "2026-03-02T20:59:59.999", true);
        check("department_store", "2026-03-02T21:00", false);
        check("convenience", "2026-03-02T03:00", true);
        check("delivery", "2026-03-02T01:59:59.999", true);
        check("delivery", "2026-03-02T02:00", false);
    }

    #[test]
    fn the_last_opening_is_today_or_yesterday_and_never_ahead() {
        let luxury = &ALL[LUXURY];
        let (from, to) = luxury.last_opening(at("2026-03-02T09:00"));
        assert_eq!((from, to), (at("2026-03-01T10:00"), at("2026-03-01T20:00")));
        let now = at("2026-03-02T12:00");
        assert_eq!(luxury.last_opening(now), (at("2026-03-02T10:00"), now + 1));
    }

    #[test]
    fn the_named_places_are_what_they_say() {
        assert_eq!((ALL[ONLINE].name, ALL[LUXURY].name), ("online_shopping", "luxury"));
    }
}
