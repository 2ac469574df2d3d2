//! Card numbers at rest: masked, plus a keyed fingerprint.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A number with at least this many digits is taken for a whole card number (ISO/IEC 7812: 13 to 19
/// digits); of anything shorter, less is shown.
const WHOLE_DIGITS_MIN: usize = 13;
/// Digits kept in front of a whole number: the issuer's, which name no cardholder.
const FRONT_DIGITS: usize = 6;
/// Digits kept at the end: what a cardholder knows the card by.
const BACK_DIGITS: usize = 4;
/// Two keys are told apart by their fingerprints of this text.
const KEY_CHECK: &str = "forebay key check";

/// HMAC-SHA256 of the full card number under the installation's key, cut to 16 bytes: finds a
/// card's payments without holding its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What stands between a card number and the store: holds the installation's key, never shows it.
///
/// The key must stay the same for as long as the store is kept: under another one, every card looks
/// new.
#[derive(Clone)]
pub struct Guard {
    /// Both blocks of the key are hashed already: a fingerprint then costs two blocks, not four.
    keyed: Hmac<Sha256>,
    clear: bool,
}

impl Guard {
    /// A guard with this key. With `clear`, [`Guard::stored`] hands numbers through unmasked.
    #[must_use]
    pub fn new(key: &[u8; 32], clear: bool) -> Self {
        // HMAC itself fills a shorter key up to a block with zeros.
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        Self { keyed: Hmac::new(&block.into()), clear }
    }

    /// The card's fingerprint. The number is taken as it is written: with and without blanks are
    /// two cards.
    #[must_use]
    pub fn fingerprint(&self, card_number: &str) -> Fingerprint {
        let mut mac = self.keyed.clone();
        mac.update(card_number.as_bytes());
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut cut = [0; 16];
        cut.copy_from_slice(&whole[..16]);
        Fingerprint(cut)
    }

    /// What the key makes of a fixed text. Two processes compare their keys by it, and neither shows its own.
    #[must_use]
    pub fn key_check(&self) -> Fingerprint {
        self.fingerprint(KEY_CHECK)
    }

    /// What the store gets to keep: of a number of 13 digits or more the first 6 and the last 4, of
    /// a shorter one the last 4, everything else as `*`, one for each character. Or the number
    /// itself, where the guard was told so.
    #[must_use]
    pub fn stored(&self, card_number: &str) -> String {
        if self.clear {
            return card_number.to_owned();
        }
        let digits = card_number.bytes().filter(u8::is_ascii_digit).count();
        let front = if digits >= WHOLE_DIGITS_MIN { FRONT_DIGITS } else { 0 };
        let back_from = digits.saturating_sub(BACK_DIGITS);
        let mut nth = 0;
        let mask = |c: char| {
            if !c.is_ascii_digit() {
                return '*';
            }
            let kept = nth < front || nth >= back_from;
            nth += 1;
            if kept { c } else { '*' }
        };
        card_number.chars().map(mask).collect()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("clear", &self.clear).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(card_number: &str, expect: &str) {
        assert_eq!(Guard::new(&[0; 32], false).stored(card_number), expect);
    }

    #[test]
    fn a_whole_number_keeps_its_first_six_and_last_four_digits() {
        check("4000123412341234", "400012******1234");
        check("4000123412345", "400012***2345");
        check("4000-1234-1234-1234", "4000*12********1234");
    }

    #[test]
    fn a_shorter_number_keeps_its_last_four_digits_only() {
        check("400012341234", "********1234");
        check("12345", "*2345");
        check("", "");
    }

    #[test]
    fn what_is_no_digit_is_never_shown() {
        check("KIM SOO 12345", "*********2345");
        check("４０００12345", "*****2345");
    }

    #[test]
    fn a_guard_told_so_keeps_the_number_in_clear() {
        assert_eq!(Guard::new(&[0; 32], true).stored("4000123412341234"), "4000123412341234");
    }

    /// RFC 4231, test case 1, with its key of 20 bytes padded with zeros as HMAC itself does.
    #[test]
    fn a_fingerprint_is_the_first_half_of_hmac_sha256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let fingerprint = Guard::new(&key, false).fingerprint("Hi There");
        assert_eq!(fingerprint.to_string(), "b0344c61d8db38535ca8afceaf0bf12b");
    }

    #[test]
    fn another_key_or_another_number_gives_another_fingerprint() {
        let (one, two) = (Guard::new(&[1; 32], false), Guard::new(&[2; 32], false));
        assert_eq!(one.fingerprint("4000"), one.fingerprint("4000"));
        assert_ne!(one.fingerprint("4000"), two.fingerprint("4000"));
        assert_ne!(one.fingerprint("4000"), one.fingerprint("4001"));
    }

    #[test]
    fn debug_output_holds_no_key() {
        let shown = format!("{:?}", Guard::new(&[171; 32], false));
        assert_eq!(shown, "Guard { clear: false, .. }");
    }
}
