//! How the service behaves, and what it does with one call.

use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest latency, jitter, window and hang, in milliseconds: a day.
const MS_MAX: u64 = 86_400_000;
/// Most calls that it works on at once.
const CAPACITY_MAX: u32 = 1_000_000;

/// How the service behaves. Shares are in thousandths of the calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// How long it works on a call, in milliseconds, up to a day.
    pub latency_ms: u64,
    /// It works up to so much longer, drawn evenly.
    pub jitter_ms: u64,
    /// Calls that it works on at once, 1 to 1,000,000. More wait in line: their latency grows.
    pub capacity: u32,
    /// Calls answered with 429, and how many seconds `Retry-After` says.
    pub refused_permille: u16,
    /// See `refused_permille`.
    pub retry_after_s: u64,
    /// Calls that fail with 500 before their effect.
    pub fail_before_permille: u16,
    /// Calls that fail with 500 after their effect.
    pub fail_after_permille: u16,
    /// Calls that fail with 500 before their effect, and get the same 500 for the same key ever after.
    pub stored_failure_permille: u16,
    /// Calls that get no answer before `hang_ms` has passed. Half of them have their effect.
    pub hang_permille: u16,
    /// How long a hung call lasts, in milliseconds.
    pub hang_ms: u64,
    /// Every call for a member whose name begins with this hangs without effect; none where it is empty.
    pub hung_members: String,
    /// Calls whose connection is cut after their effect.
    pub cut_permille: u16,
    /// Every call is answered with 503, as that of a service that is away.
    pub away: bool,
    /// Whether a second call with the same key has no further effect.
    pub honours_keys: bool,
    /// For how long it knows a key, in milliseconds, up to a day.
    pub key_window_ms: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency_ms: 50,
            jitter_ms: 0,
            capacity: 10_000,
            refused_permille: 0,
            retry_after_s: 1,
            fail_before_permille: 0,
            fail_after_permille: 0,
            stored_failure_permille: 0,
            hang_permille: 0,
            hang_ms: 60_000,
            hung_members: String::new(),
            cut_permille: 0,
            away: false,
            honours_keys: true,
            key_window_ms: MS_MAX,
        }
    }
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    Away,
    Refused,
    FailBefore,
    FailAfter,
    StoredFailure,
    Hang { has_effect: bool },
    Cut,
}

impl Behaviour {
    /// The default with these fields, each `FIELD=VALUE`.
    ///
    /// # Errors
    /// The first that is none, is unknown or out of bounds, and what would be right.
    pub fn of_pairs(pairs: &[String]) -> Result<Self, String> {
        let mut fields = Map::new();
        for pair in pairs {
            let (field, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("{pair}: must be FIELD=VALUE, such as latency_ms=50"))?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            fields.insert(field.to_owned(), value);
        }
        Self::default().with(fields)
    }

    /// The same with these fields changed.
    ///
    /// # Errors
    /// The first that is unknown or out of bounds, and what would be right.
    pub(super) fn with(&self, fields: Map<String, Value>) -> Result<Self, String> {
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        if let Some(all) = all.as_object_mut() {
            all.extend(fields);
        }
        let changed: Self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        changed.validate().map(|()| changed)
    }

    /// # Errors
    /// The first field that is out of bounds, and what would be right.
    pub fn validate(&self) -> Result<(), String> {
        let times = [
            ("latency_ms", self.latency_ms),
            ("jitter_ms", self.jitter_ms),
            ("retry_after_s", self.retry_after_s),
            ("hang_ms", self.hang_ms),
            ("key_window_ms", self.key_window_ms),
        ];
        if let Some((name, value)) = times.into_iter().find(|(_, value)| *value > MS_MAX) {
            return Err(format!("{name}: must be 0 to {MS_MAX}, not {value}"));
        }
        if !(1..=CAPACITY_MAX).contains(&self.capacity) {
            return Err(format!("capacity: must be 1 to {CAPACITY_MAX}, not {}", self.capacity));
        }
        let shares = self.shares();
        let sum: u32 = shares.iter().map(|(_, share)| u32::from(*share)).sum();
        if sum > 1000 {
            let names = shares.map(|(name, _)| name).join(", ");
            return Err(format!("{names}: must be 1000 together at most, not {sum}"));
        }
        Ok(())
    }

    fn shares(&self) -> [(&'static str, u16); 6] {
        [
            ("refused_permille", self.refused_permille),
            ("fail_before_permille", self.fail_before_permille),
            ("fail_after_permille", self.fail_after_permille),
            ("stored_failure_permille", self.stored_failure_permille),
            ("hang_permille", self.hang_permille),
            ("cut_permille", self.cut_permille),
        ]
    }

    /// Draws what becomes of the next call, which is for `member`, and how long it is worked on, in milliseconds.
    pub(super) fn draw(&self, member: &str, random: &mut impl Rng) -> (Fate, u64) {
        let longer = (u64::from(random.next_u32()) * (self.jitter_ms + 1)) >> 32;
        let mut drawn = (u64::from(random.next_u32()) * 1000) >> 32;
        let coin = random.next_u32() & 1 == 0;
        let latency_ms = self.latency_ms + longer;
        if self.away {
            return (Fate::Away, 0);
        }
        if !self.hung_members.is_empty() && member.starts_with(&self.hung_members) {
            return (Fate::Hang { has_effect: false }, latency_ms);
        }
        let fates = [
            Fate::Refused,
            Fate::FailBefore,
            Fate::FailAfter,
            Fate::StoredFailure,
            Fate::Hang { has_effect: coin },
            Fate::Cut,
        ];
        for ((_, share), fate) in self.shares().into_iter().zip(fates) {
            let share = u64::from(share);
            if drawn < share {
                return (fate, if fate == Fate::Refused { 0 } else { latency_ms });
            }
            drawn -= share;
        }
        (Fate::Good, latency_ms)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn the_default_is_good_and_a_value_out_of_bounds_is_named() {
        Behaviour::default().validate().unwrap();
        let check = |behaviour: Behaviour, expected: &str| {
            let problem = behaviour.validate().unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        };
        let default = Behaviour::default;
        check(Behaviour { capacity: 0, ..default() }, "capacity: must be 1 to 1000000, not 0");
        check(
            Behaviour { latency_ms: MS_MAX + 1, ..default() },
            "latency_ms: must be 0 to 86400000",
        );
        let too_many = Behaviour { hang_permille: 600, cut_permille: 401, ..default() };
        check(too_many, "must be 1000 together at most, not 1001");
    }

    #[test]
    fn pairs_change_their_fields_alone() {
        let pairs = |pairs: &[&str]| {
            Behaviour::of_pairs(&pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>())
        };
        let expected = Behaviour { latency_ms: 7, away: true, ..Behaviour::default() };
        assert_eq!(pairs(&["latency_ms=7", "away=true"]), Ok(expected));
        for (wrong, expected) in [
            ("latency_ms", "latency_ms: must be FIELD=VALUE"),
            ("latency=7", "unknown field `latency`"),
            ("latency_ms=soon", "invalid type: string"),
            ("capacity=0", "capacity: must be 1 to 1000000, not 0"),
        ] {
            let problem = pairs(&[wrong]).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn each_fate_has_its_share_and_the_latency_its_bounds() {
        let behaviour = Behaviour {
            jitter_ms: 10,
            refused_permille: 100,
            fail_before_permille: 50,
            hang_permille: 200,
            cut_permille: 10,
            ..Behaviour::default()
        };
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let drawn: Vec<_> = (0..100_000).map(|_| behaviour.draw("a", &mut random)).collect();
        let share = |fate: Fate| drawn.iter().filter(|(drawn, _)| *drawn == fate).count();
        let near = |count: usize, expected: usize| count.abs_diff(expected) < expected / 10;
        assert!(near(share(Fate::Refused), 10_000));
        assert!(near(share(Fate::FailBefore), 5_000));
        assert!(near(share(Fate::Hang { has_effect: true }), 10_000));
        assert!(near(share(Fate::Hang { has_effect: false }), 10_000));
        assert!(near(share(Fate::Cut), 1_000));
        assert_eq!(share(Fate::FailAfter) + share(Fate::StoredFailure) + share(Fate::Away), 0);
        let good = drawn.iter().filter(|(fate, _)| *fate == Fate::Good);
        let (least, most) =
            good.fold((u64::MAX, 0), |(least, most), (_, ms)| (least.min(*ms), most.max(*ms)));
        assert_eq!((least, most), (50, 60));
    }
}
