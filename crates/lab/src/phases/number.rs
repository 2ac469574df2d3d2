//! Figures as people read them.

/// With as many digits as tell something: `0.312`, `4.57`, `80.4`, `17,480`.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        _ if size < 0.9995 => format!("{value:.3}"),
        _ if size < 9.995 => format!("{value:.2}"),
        _ if size < 99.95 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

/// A count, in groups of three digits.
pub(super) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// How many times as much: `12.3×`.
pub(super) fn times(ratio: f64) -> String {
    let digits = match ratio {
        _ if ratio < 0.0995 => 3,
        _ if ratio < 9.95 => 2,
        _ if ratio < 99.5 => 1,
        _ => 0,
    };
    format!("{}×", grouped(&format!("{ratio:.digits$}")))
}

/// The digits before the point in groups of three; a sign in front stays in front.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_the_digits_that_tell_something() {
        let check = |value, expected: &str| assert_eq!(figure(value), expected);
        check(0.0, "0");
        check(0.3124, "0.312");
        check(0.9996, "1.00");
        check(4.567, "4.57");
        check(9.996, "10.0");
        check(80.42, "80.4");
        check(99.96, "100");
        check(17_479.6, "17,480");
        check(-1_234_567.0, "-1,234,567");
        check(f64::NAN, "–");
    }

    #[test]
    fn counts_and_ratios_read_well() {
        assert_eq!((count(999), count(1_000)), ("999".to_owned(), "1,000".to_owned()));
        let check = |ratio, expected: &str| assert_eq!(times(ratio), expected);
        check(0.0123, "0.012×");
        check(1.0, "1.00×");
        check(12.34, "12.3×");
        check(1_234.5, "1,234×");
    }
}
