//! A card number in eight bytes.

use model::payment::{CARD_DIGITS_MAX, CARD_DIGITS_MIN};

/// A card number, packed: what a card is found by in memory.
///
/// Numbers of each length take a range of their own, one after the other, so that two numbers never
/// share a code even where one is the other with zeros before it. All lengths together need
/// 10^12 + … + 10^19 codes, which is less than 2^64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number(u64);

impl Number {
    /// Packs 12 to 19 digits; `None` for anything else.
    #[must_use]
    pub fn read(digits: &str) -> Option<Self> {
        let digits = digits.as_bytes();
        let shorter = digits.len().checked_sub(CARD_DIGITS_MIN)?;
        let base = *BASES.get(shorter)?;
        let mut value = 0_u64;
        let mut digits_only = true;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            digits_only &= digit <= 9;
            // Wraps only where a byte is no digit, and then the value is not used.
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        digits_only.then(|| Self(base + value))
    }

    pub(crate) fn code(self) -> u64 {
        self.0
    }
}

impl std::fmt::Debug for Number {
    /// A card number never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Number(…)")
    }
}

/// The first code of each length: how many numbers are shorter.
const BASES: [u64; CARD_DIGITS_MAX - CARD_DIGITS_MIN + 1] = {
    let mut bases = [0; CARD_DIGITS_MAX - CARD_DIGITS_MIN + 1];
    let mut count = 10_u64.pow(12);
    let mut at = 1;
    while at < bases.len() {
        bases[at] = bases[at - 1] + count;
        count *= 10;
        at += 1;
    }
    bases
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_12_to_19_digits_are_packed() {
        for good in [12, 13, 19] {
            assert!(Number::read(&"9".repeat(good)).is_some());
        }
        for wrong in ["", "11111111111", "11111111111111111111", "4000-1234-1234", "40001234123é"]
        {
            assert_eq!(Number::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_last_number_of_a_length_and_the_first_of_the_next_differ_by_one() {
        for length in 12..19 {
            let last = Number::read(&"9".repeat(length)).unwrap().code();
            let first = Number::read(&"0".repeat(length + 1)).unwrap().code();
            assert_eq!(last + 1, first);
        }
    }

    proptest! {
        #[test]
        fn numbers_that_differ_have_codes_that_differ(a in "[0-9]{12,19}", zeros in 0..7_usize) {
            let b = format!("{}{a}", "0".repeat(zeros));
            if let Some(packed) = Number::read(&b) {
                prop_assert_eq!(Number::read(&a) == Some(packed), a == b);
            }
        }
    }
}
