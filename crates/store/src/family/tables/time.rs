//! Moments as text of one width, so that they compare as text as they do in time.

/// 0001-01-01T00:00:00Z, in microseconds since the Unix epoch.
pub const MICROS_MIN: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
pub const MICROS_MAX: i64 = 253_402_300_799_999_999;

const SECOND: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// `2026-03-02T03:00:00.000000Z`, for a moment within [`MICROS_MIN`] and [`MICROS_MAX`].
#[must_use]
pub fn show_time(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(SECOND), micros.rem_euclid(SECOND));
    let (days, of_day) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// Reads what [`show_time`] writes, and UTC as people write it into SQLite: a blank for the `T`, no
/// fraction or up to nine digits of it, no `Z`.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !text.is_ascii() {
        return None;
    }
    let parted = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if parted.iter().any(|&(at, mark)| bytes[at] != mark) || !matches!(bytes[10], b'T' | b' ') {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &text[from..to];
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fraction = match &text[19..] {
        "" => 0,
        rest => {
            let digits = rest.strip_prefix('.').filter(|digits| (1..=9).contains(&digits.len()))?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            format!("{digits:0<6}")[..6].parse().ok()?
        }
    };
    let days = days(year, month, day);
    if hour > 23 || minute > 59 || second > 59 || civil(days) != (year, month, day) {
        return None;
    }
    let seconds = days * DAY_S + hour * 3600 + minute * 60 + second;
    let micros = seconds * SECOND + fraction;
    (MICROS_MIN..=MICROS_MAX).contains(&micros).then_some(micros)
}

/// Year, month and day of the `days`th day after 1970-01-01 (H. Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// The inverse of [`civil`] (`days_from_civil` there).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_and_compare_as_text() {
        let moments = [
            (MICROS_MIN, "0001-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_772_334_000_000_000, "2026-03-01T03:00:00.000000Z"),
            (MICROS_MAX, "9999-12-31T23:59:59.999999Z"),
        ];
        for (micros, text) in moments {
            assert_eq!(show_time(micros), text);
            assert_eq!(parse_time(text), Some(micros), "{text}");
        }
        assert!(moments.is_sorted_by(|a, b| a.1 < b.1));
    }

    #[test]
    fn what_people_write_is_read_and_what_is_no_moment_is_not() {
        let noon = parse_time("2026-03-01T12:00:00.000000Z");
        for text in ["2026-03-01 12:00:00", "2026-03-01T12:00:00Z", "2026-03-01 12:00:00.000"] {
            assert_eq!(parse_time(text), noon, "{text}");
        }
        assert_eq!(parse_time("1970-01-01 00:00:00.1234567"), Some(123_456));
        for text in [
            "",
            "now",
            "2026-03-01",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:00:00+09:00",
            "2026-03-01T12:00:00.",
            "+026-03-01T12:00:00",
            "2026-03-01T12:00:00.1234567890",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
