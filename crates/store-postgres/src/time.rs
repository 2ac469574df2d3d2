//! Milliseconds since 1970 as PostgreSQL has them: microseconds since 2000.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use model::clock::EpochMs;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01T00:00:00Z.
const EPOCH_MS: EpochMs = 946_684_800_000;
/// 0001-01-01T00:00:00Z. PostgreSQL goes further; years of four digits can be read by everybody.
const MIN_MS: EpochMs = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z.
const MAX_MS: EpochMs = 253_402_300_799_999;

/// A `timestamptz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp(EpochMs);

impl Timestamp {
    /// `None` for what lies outside the years 1 to 9999.
    pub(crate) fn new(ms: EpochMs) -> Option<Self> {
        (MIN_MS..=MAX_MS).contains(&ms).then_some(Self(ms))
    }

    pub(crate) fn ms(self) -> EpochMs {
        self.0
    }

    /// As it is sent.
    pub(crate) fn micros(self) -> i64 {
        (self.0 - EPOCH_MS) * 1_000
    }
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        // Both infinities are at the ends of the type, and are no time.
        Self::new((micros / 1_000).saturating_add(EPOCH_MS) - i64::from(micros % 1_000 < 0))
            .ok_or_else(|| "a time is outside the years 1 to 9999".into())
    }

    accepts!(TIMESTAMPTZ);
}

impl ToSql for Timestamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.micros());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ms: EpochMs, micros: i64) {
        let time = Timestamp::new(ms).unwrap();
        assert_eq!(time.micros(), micros);
        let read = Timestamp::from_sql(&Type::TIMESTAMPTZ, &micros.to_be_bytes()).unwrap();
        assert_eq!(read, time);
    }

    #[test]
    fn times_come_back_to_the_millisecond() {
        check(EPOCH_MS, 0);
        check(EPOCH_MS - 1, -1_000);
        check(0, -946_684_800_000_000);
        check(-5_001, -946_684_805_001_000);
        check(MAX_MS, 252_455_615_999_999_000);
        check(MIN_MS, -63_082_281_600_000_000);
    }

    #[test]
    fn a_part_of_a_millisecond_is_dropped_towards_the_past() {
        let read = |micros: i64| Timestamp::from_sql(&Type::TIMESTAMPTZ, &micros.to_be_bytes());
        assert_eq!(read(1_999).unwrap().ms(), EPOCH_MS + 1);
        assert_eq!(read(-1).unwrap().ms(), EPOCH_MS - 1);
        assert_eq!(read(-1_001).unwrap().ms(), EPOCH_MS - 2);
    }

    #[test]
    fn what_is_outside_four_digit_years_is_no_time() {
        assert_eq!(Timestamp::new(MAX_MS + 1), None);
        assert_eq!(Timestamp::new(MIN_MS - 1), None);
        assert_eq!(Timestamp::new(i64::MAX), None);
        for infinity in [i64::MAX, i64::MIN] {
            Timestamp::from_sql(&Type::TIMESTAMPTZ, &infinity.to_be_bytes()).unwrap_err();
        }
    }
}
