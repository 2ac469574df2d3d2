//! Who pays, and where: users with their cards, and merchants.

use model::payment::Tier;

use super::category;
use super::draw::Draw;

/// How many merchants each category has.
const MERCHANTS: usize = 20;
/// Digits of a card number between the test range's prefix and the check digit.
const SERIAL_DIGITS: usize = 9;
/// One past the largest serial.
const SERIALS: u64 = 1_000_000_000;
/// Card numbers begin with this: a range set aside for tests.
const PREFIX: &str = "400000";

/// One card and what the generator has paid with it so far.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) number: String,
    pub(super) user: usize,
    /// Payments so far.
    pub(super) count: i64,
    /// Sum of their amounts, in KRW.
    pub(super) sum: i64,
    /// The four latest event times, in no order.
    pub(super) latest: [i64; 4],
}

/// One user.
#[derive(Debug)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) tier: Tier,
    /// The first of its cards.
    first_card: usize,
    /// One or two.
    cards: usize,
}

/// Everybody.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) users: Vec<User>,
    pub(super) cards: Vec<Card>,
    merchants: Vec<String>,
}

impl Pool {
    /// `count` users, of whom 2% are VIP and 13% premium, with one or two cards each.
    pub(super) fn new(count: usize, draw: &mut Draw) -> Self {
        let (vip, premium) = (count * 2 / 100, count * 13 / 100);
        let first_serial = u64::from(draw.next()) % SERIALS;
        let mut cards = Vec::with_capacity(count * 2);
        let users = (0..count)
            .map(|user| {
                let tier = match user {
                    _ if user < vip => Tier::Vip,
                    _ if user < vip + premium => Tier::Premium,
                    _ => Tier::Normal,
                };
                let (first_card, of_user) = (cards.len(), 1 + draw.below(2));
                for index in first_card..first_card + of_user {
                    let serial = (first_serial + index as u64) % SERIALS;
                    cards.push(Card::new(number(serial), user));
                }
                User { id: format!("user-{:05}", user + 1), tier, first_card, cards: of_user }
            })
            .collect();
        let merchants = category::ALL
            .iter()
            .flat_map(|category| (1..=MERCHANTS).map(|n| format!("{}-{n:02}", category.name)))
            .collect();
        Self { users, cards, merchants }
    }

    /// A card of a user; every user is as likely as any other.
    pub(super) fn any_card(&self, draw: &mut Draw) -> usize {
        let user = &self.users[draw.below(self.users.len())];
        user.first_card + if user.cards == 1 { 0 } else { draw.below(user.cards) }
    }

    /// The tier of a card's user.
    pub(super) fn tier(&self, card: usize) -> Tier {
        self.users[self.cards[card].user].tier
    }

    /// A merchant of a category.
    pub(super) fn any_merchant(category: usize, draw: &mut Draw) -> usize {
        category * MERCHANTS + draw.below(MERCHANTS)
    }

    pub(super) fn merchant(&self, index: usize) -> &str {
        &self.merchants[index]
    }
}

impl Card {
    fn new(number: String, user: usize) -> Self {
        Self { number, user, count: 0, sum: 0, latest: [i64::MIN; 4] }
    }

    /// Takes note of a payment.
    pub(super) fn paid(&mut self, amount: i64, at_ms: i64) {
        self.count += 1;
        self.sum += amount;
        let oldest = self.latest.iter_mut().min().expect("four times are not none");
        *oldest = at_ms.max(*oldest);
    }

    /// Whether a payment at `at_ms` would be at least the fifth within `window_ms`.
    pub(super) fn is_fifth(&self, at_ms: i64, window_ms: i64) -> bool {
        let fourth = self.latest.into_iter().min().expect("four times are not none");
        fourth > at_ms.saturating_sub(window_ms)
    }

    /// Whether `amount` is at least ten times the mean of five or more earlier payments.
    pub(super) fn is_spike(&self, amount: i64) -> bool {
        self.count >= 5 && amount.saturating_mul(self.count) >= self.sum.saturating_mul(10)
    }
}

fn number(serial: u64) -> String {
    let body = format!("{PREFIX}{serial:0SERIAL_DIGITS$}");
    // Luhn: from the right, before the check digit, every other digit counts double.
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            let weighed = if place % 2 == 0 { digit * 2 } else { digit };
            weighed / 10 + weighed % 10
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn is_luhn_valid(number: &str) -> bool {
        let sum: u32 = number
            .bytes()
            .rev()
            .enumerate()
            .map(|(place, digit)| {
                let digit = u32::from(digit - b'0');
                match (place % 2, digit * 2) {
                    (0, _) => digit,
                    (_, double) if double > 9 => double - 9,
                    (_, double) => double,
                }
            })
            .sum();
        sum.is_multiple_of(10)
    }

    #[test]
    fn five_hundred_users_are_ten_vip_sixty_five_premium_and_the_rest_normal() {
        let pool = Pool::new(500, &mut Draw::new(7));
        let count = |tier| pool.users.iter().filter(|user| user.tier == tier).count();
        assert_eq!((count(Tier::Vip), count(Tier::Premium), count(Tier::Normal)), (10, 65, 425));
    }

    #[test]
    fn card_numbers_are_distinct_valid_and_of_the_test_range() {
        assert!(is_luhn_valid("4111111111111111") && !is_luhn_valid("4111111111111112"));
        let pool = Pool::new(500, &mut Draw::new(7));
        assert!((501..1000).contains(&pool.cards.len()));
        let mut seen = HashSet::new();
        for card in &pool.cards {
            assert!(card.number.len() == 16 && card.number.starts_with("400000"));
            assert!(is_luhn_valid(&card.number), "{}", card.number);
            assert!(seen.insert(&card.number));
        }
    }

    #[test]
    fn the_fifth_within_the_window_is_told_from_the_fifth_just_outside() {
        let mut card = Card::new(number(1), 0);
        for at_ms in [0, 10, 20, 30] {
            assert!(!card.is_fifth(at_ms, 60_000));
            card.paid(1_000, at_ms);
        }
        assert!(card.is_fifth(59_999, 60_000));
        assert!(!card.is_fifth(60_000, 60_000));
    }
}
