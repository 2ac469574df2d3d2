//! How amounts of time and other numbers are written and read.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::EpochMs;

/// The longest duration a flag takes: thirty days.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Reads `500ms`, `30s`, `5m`, `1.5h`.
///
/// # Errors
/// A sentence for the user.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration; write e.g. 500ms, 30s, 5m or 1h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(format!("\"{text}\" is out of bounds; write 1ms to 720h"));
    }
    Ok(duration)
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Whole milliseconds, in the unit that reads best: `3 ms`, `1.4 s`, `12 min`.
pub fn millis_whole(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms / 100 % 10),
        _ => format!("{} min", grouped(ms / 60_000)),
    }
}

/// Bytes, in the unit that reads best: `512 B`, `3.4 KiB`, `1.2 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if count >> shift > 0 {
            let tenths = (u128::from(count) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} B")
}

/// RFC 3339 in UTC, to the millisecond; the number itself where no date is that far away.
#[must_use]
pub fn time(ms: EpochMs) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

/// `00:12`, or `1:02:03` from an hour on.
pub fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        return format!("{hours}:{minutes:02}:{seconds:02}");
    }
    format!("{minutes:02}:{seconds:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5_400)));
        for text in ["30", "s", "-1s", "1d", "1e400s", "NaNs", ""] {
            assert!(duration(text).unwrap_err().contains("is no duration"), "{text}");
        }
        assert!(duration("0s").unwrap_err().contains("out of bounds"));
        assert!(duration("721h").unwrap_err().contains("out of bounds"));
    }

    #[test]
    fn numbers_are_written_to_be_read() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(millis_whole(999), "999 ms");
        assert_eq!(millis_whole(1_440), "1.4 s");
        assert_eq!(millis_whole(720_000), "12 min");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3_500), "3.4 KiB");
        assert_eq!(bytes(u64::MAX), "17179869183.9 GiB");
        assert_eq!(time(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
        assert_eq!(clock(Duration::from_secs(12)), "00:12");
        assert_eq!(clock(Duration::from_secs(3_723)), "1:02:03");
    }
}
