//! Local time of day, cheaply: the offset is looked up once for each stretch of time between two
//! transitions, which for a zone without daylight saving is once.

use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::clock::EpochMs;

use crate::Error;

const DAY_MS: i64 = 24 * 3_600_000;

#[derive(Debug, Clone)]
pub(crate) struct Zone {
    zone: TimeZone,
    /// Where `offset_ms` holds; empty before the first look-up.
    known: Range<EpochMs>,
    offset_ms: i64,
}

impl Zone {
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let zone = TimeZone::get(name).map_err(|_| Error::Ruleset {
            field: "dawn_high_amount.time_zone",
            problem: "is no IANA time zone; write one such as Asia/Seoul".to_owned(),
        })?;
        Ok(Self { zone, known: 0..0, offset_ms: 0 })
    }

    /// Milliseconds since local midnight, as a clock on the wall shows them.
    pub(crate) fn time_of_day_ms(&mut self, at_ms: EpochMs) -> i64 {
        if !self.known.contains(&at_ms) {
            self.look_up(at_ms);
        }
        at_ms.saturating_add(self.offset_ms).rem_euclid(DAY_MS)
    }

    fn look_up(&mut self, at_ms: EpochMs) {
        // No payment lies outside of what a timestamp can hold (years −9999 to 9999).
        let edge = if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let at = Timestamp::from_millisecond(at_ms).unwrap_or(edge);
        let end_ms = self.zone.following(at).next().map(|next| next.timestamp().as_millisecond());
        // "Preceding" is strict, and `at` may be the moment of a transition itself.
        let after = at.as_millisecond().saturating_add(1);
        let after = Timestamp::from_millisecond(after).unwrap_or(Timestamp::MAX);
        let start_ms = self.zone.preceding(after).next().map(|last| last.timestamp());
        self.known =
            start_ms.map_or(i64::MIN, Timestamp::as_millisecond)..end_ms.unwrap_or(i64::MAX);
        self.offset_ms = i64::from(self.zone.to_offset(at).seconds()) * 1000;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked_directly(zone: &TimeZone, at_ms: i64) -> i64 {
        let local = zone.to_datetime(Timestamp::from_millisecond(at_ms).unwrap());
        let seconds = i64::from(local.hour()) * 3600
            + i64::from(local.minute()) * 60
            + i64::from(local.second());
        seconds * 1000 + i64::from(local.millisecond())
    }

    #[test]
    fn a_transition_is_seen_at_its_very_millisecond() {
        // New York, 2026-03-08: 02:00 becomes 03:00 at 07:00 UTC.
        let at_ms = 1_772_953_200_000;
        let mut zone = Zone::named("America/New_York").unwrap();
        for _ in 0..2 {
            assert_eq!(zone.time_of_day_ms(at_ms - 1), 2 * 3_600_000 - 1);
            assert_eq!(zone.time_of_day_ms(at_ms), 3 * 3_600_000);
        }
        let mut other_way = Zone::named("America/New_York").unwrap();
        assert_eq!(other_way.time_of_day_ms(at_ms), 3 * 3_600_000);
        assert_eq!(other_way.time_of_day_ms(at_ms - 1), 2 * 3_600_000 - 1);
    }

    #[test]
    fn seoul_is_looked_up_once_for_all_payments() {
        let mut zone = Zone::named("Asia/Seoul").unwrap();
        assert_eq!(zone.time_of_day_ms(1_777_595_400_000), 9 * 3_600_000 + 30 * 60_000);
        assert!(zone.known.start < 946_684_800_000 && zone.known.end == i64::MAX);
    }

    proptest! {
        #[test]
        fn remembered_offsets_equal_the_zones_own(
            name in prop_oneof![
                Just("Asia/Seoul"), Just("America/New_York"), Just("Europe/Dublin"),
                Just("Australia/Lord_Howe"), Just("UTC"),
            ],
            times in proptest::collection::vec(-2_000_000_000_000_i64..4_000_000_000_000, 1..40),
        ) {
            let mut zone = Zone::named(name).unwrap();
            let direct = TimeZone::get(name).unwrap();
            for at_ms in times {
                prop_assert_eq!(zone.time_of_day_ms(at_ms), asked_directly(&direct, at_ms));
            }
        }

        #[test]
        fn no_time_panics(at_ms: i64) {
            let mut zone = Zone::named("America/New_York").unwrap();
            let day = zone.time_of_day_ms(at_ms);
            prop_assert!((0..DAY_MS).contains(&day));
        }
    }
}
