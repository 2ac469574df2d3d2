//! Decimal numbers, exactly.

/// The most digits of a number read here: products of two then fit in 128 bits.
const DIGITS_MAX: usize = 19;

/// A decimal number: `units` / 10^`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    units: i128,
    places: u32,
}

impl Decimal {
    /// One.
    pub const ONE: Self = Self { units: 1, places: 0 };

    /// Reads `-12.50`, `7`, `.5`: an optional sign, up to 19 digits, at most one point. Zeros in
    /// front, and at the end of a fraction, do not count. `None` for anything else, exponents among it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let empty = whole.is_empty() && fraction.is_empty();
        let digits_only = is_digits(whole) && is_digits(fraction);
        let fraction = fraction.trim_end_matches('0');
        let significant = whole.trim_start_matches('0').len() + fraction.len();
        if empty || !digits_only || significant > DIGITS_MAX {
            return None;
        }
        let mut units: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            units = units * 10 + i128::from(digit - b'0');
        }
        let places = u32::try_from(fraction.len()).ok()?;
        Some(Self { units: if negative { -units } else { units }, places })
    }

    /// The product, exactly.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        // At most 19 digits each: 38 in all, which 128 bits hold, also with a half added.
        Self { units: self.units * other.units, places: self.places + other.places }
    }

    /// Whether nothing but zeros follows the point.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.units % self.one() == 0
    }

    /// The nearest whole number, halves away from zero; `None` past 64 bits.
    #[must_use]
    pub fn round(self) -> Option<i64> {
        let one = self.one();
        let half = one / 2 * self.units.signum();
        i64::try_from((self.units + half) / one).ok()
    }

    fn one(self) -> i128 {
        10_i128.pow(self.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, scale: &str, expected: i64) {
        let product = Decimal::parse(text).unwrap().times(Decimal::parse(scale).unwrap());
        assert_eq!(product.round(), Some(expected), "{text} × {scale}");
    }

    #[test]
    fn products_are_exact_where_floating_point_is_not() {
        check("57.16", "1000", 57_160);
        check("1.005", "100", 101); // 1.005 × 100 is 100.49999999999999 in f64
        check("146.0", "1000", 146_000);
        check("0.29", "100", 29);
        check("90071992547409.93", "100", 9_007_199_254_740_993); // one past 2^53
        check("000000000000000000000012", "1", 12);
        check("9223372036854775807.000", "1", i64::MAX);
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        check("0.5", "1", 1);
        check("-0.5", "1", -1);
        check("0.4999", "1", 0);
        check("2.5", "1", 3);
        check(".5", "3", 2);
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in
            ["", "-", ".", "1e5", "1,000", " 1", "0x10", "1.2.3", "NaN", "12345678901234567890"]
        {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_product_past_64_bits_is_refused_not_wrapped() {
        let large = Decimal::parse("9999999999999999999").unwrap();
        assert_eq!(large.times(large).round(), None);
        let tiny = Decimal::parse("0.0000000000000000001").unwrap();
        assert_eq!(tiny.times(tiny).round(), Some(0));
    }

    #[test]
    fn zeros_behind_the_point_still_make_a_whole_number() {
        assert!(Decimal::parse("57.00").unwrap().is_whole());
        assert!(!Decimal::parse("57.01").unwrap().is_whole());
    }
}
