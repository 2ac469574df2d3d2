//! Thresholds of the four rules. Every one can be set, and every rule can be switched off.

use model::payment::{TEXT_BYTES_MAX, Tier};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::latest::{RECENT_MAX, Retention};
use crate::zone::Zone;

/// The longest velocity window: one day.
const WINDOW_MS_MAX: i64 = 24 * 3_600_000;
/// The largest spike factor: a million times the mean.
const FACTOR_PERMILLE_MAX: u32 = 1_000_000_000;

/// All rules with their thresholds. What a file leaves out has the value given for each field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ruleset {
    /// Many payments in a short time.
    pub velocity: Velocity,
    /// One payment far above the card's mean.
    pub amount_spike: AmountSpike,
    /// A large payment in the small hours.
    pub dawn_high_amount: DawnHighAmount,
    /// A large payment in a category that the tier rarely buys.
    pub unusual_category: UnusualCategory,
}

/// Fires at `payments_min` distinct payments of a card in `(t − window, t]`, where `t` is the event
/// time of the payment at hand, which counts as one.
///
/// Counted are the payments that were settled before this one. Of a payment that comes late all are
/// counted within the bounds of [`Reach`]; past them fewer may be, and the rule may not fire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Velocity {
    /// Whether the rule runs. Default true.
    pub enabled: bool,
    /// How many payments are too many: 1 to half of [`RECENT_MAX`]. Default 5.
    pub payments_min: u32,
    /// How long the window is: 1 ms to one day. Default 60,000.
    pub window_ms: i64,
}

/// Which late payments `velocity` judges by all payments of their window, `(t − window, t]`.
///
/// A payment is late by the time that it lies behind the latest of its card, by event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Late by no more than this, in milliseconds: one window.
    pub late_ms_max: i64,
    /// And with no more payments than this newer than the start of the window.
    pub payments_max: usize,
    /// However late, with no more payments than this newer than the start of the window.
    pub always: usize,
}

/// Fires at `factor_permille / 1000` times the mean amount of the card's earlier payments, or more.
/// A payment of nothing never fires, also where all earlier ones were of nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmountSpike {
    /// Whether the rule runs. Default true.
    pub enabled: bool,
    /// How many times the mean, in thousandths: 10,000 is ten times, 2,500 is two and a half.
    /// 1 to 1,000,000,000. Default 10,000.
    pub factor_permille: u32,
    /// How many earlier payments make a mean: 1 or more. Default 5.
    pub earlier_min: u64,
}

/// Fires at `amount_min` or more while the local hour is in `[from_hour, to_hour)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DawnHighAmount {
    /// Whether the rule runs. Default true.
    pub enabled: bool,
    /// First hour, 0 to 23. Past `to_hour` the span goes over midnight. Default 0.
    pub from_hour: u8,
    /// The hour that is outside again, 1 to 24. Default 6.
    pub to_hour: u8,
    /// IANA name of the time zone the hours are in. Default `Asia/Seoul`.
    pub time_zone: String,
    /// KRW, 0 or more. Default 5,000,000.
    pub amount_min: i64,
}

/// Fires when a payer of `tier` spends `amount_min` or more in `category`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnusualCategory {
    /// Whether the rule runs. Default true.
    pub enabled: bool,
    /// Whose payments. Default `normal`.
    pub tier: Tier,
    /// For what: 1 to 100 bytes, compared exactly. Default `luxury`.
    pub category: String,
    /// KRW, 0 or more. Default 10,000,000.
    pub amount_min: i64,
}

impl Ruleset {
    /// All thresholds as JSON, in the order of the fields: what the store gives a version to.
    #[must_use]
    pub fn content(&self) -> String {
        serde_json::to_string(self).expect("a ruleset is plain data")
    }

    /// How late a payment may come and still be judged right by `velocity`.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let always = Retention::of(self).keep_min;
        Reach { late_ms_max: self.velocity.window_ms, payments_max: RECENT_MAX, always }
    }

    /// Whether every value is within its bounds.
    ///
    /// # Errors
    /// [`Error::Ruleset`] naming the first field that is not.
    pub fn validate(&self) -> Result<(), Error> {
        let payments_max = u32::try_from(RECENT_MAX / 2).unwrap_or(u32::MAX);
        let velocity = &self.velocity;
        let spike = &self.amount_spike;
        let dawn = &self.dawn_high_amount;
        let unusual = &self.unusual_category;
        within("velocity.payments_min", velocity.payments_min, 1, payments_max)?;
        within("velocity.window_ms", velocity.window_ms, 1, WINDOW_MS_MAX)?;
        within("amount_spike.factor_permille", spike.factor_permille, 1, FACTOR_PERMILLE_MAX)?;
        within("amount_spike.earlier_min", spike.earlier_min, 1, u64::MAX)?;
        within("dawn_high_amount.from_hour", dawn.from_hour, 0, 23)?;
        within("dawn_high_amount.to_hour", dawn.to_hour, 1, 24)?;
        within("dawn_high_amount.amount_min", dawn.amount_min, 0, i64::MAX)?;
        within("unusual_category.amount_min", unusual.amount_min, 0, i64::MAX)?;
        if dawn.from_hour == dawn.to_hour {
            let problem = "equals from_hour; for the whole day write 0 and 24".to_owned();
            return Err(Error::Ruleset { field: "dawn_high_amount.to_hour", problem });
        }
        if unusual.category.is_empty() || unusual.category.len() > TEXT_BYTES_MAX {
            let problem = format!("must be 1 to {TEXT_BYTES_MAX} bytes");
            return Err(Error::Ruleset { field: "unusual_category.category", problem });
        }
        Zone::named(&dawn.time_zone).map(|_| ())
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), Error> {
    if value < min || value > max {
        let problem = format!("is {value}; must be {min} to {max}");
        return Err(Error::Ruleset { field, problem });
    }
    Ok(())
}

impl Default for Velocity {
    fn default() -> Self {
        Self { enabled: true, payments_min: 5, window_ms: 60_000 }
    }
}

impl Default for AmountSpike {
    fn default() -> Self {
        Self { enabled: true, factor_permille: 10_000, earlier_min: 5 }
    }
}

impl Default for DawnHighAmount {
    fn default() -> Self {
        Self {
            enabled: true,
            from_hour: 0,
            to_hour: 6,
            time_zone: "Asia/Seoul".to_owned(),
            amount_min: 5_000_000,
        }
    }
}

impl Default for UnusualCategory {
    fn default() -> Self {
        Self {
            enabled: true,
            tier: Tier::Normal,
            category: "luxury".to_owned(),
            amount_min: 10_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads and validates; `expect` is empty for a good ruleset, else what the error holds.
    #[track_caller]
    fn check(toml: &str, expect: &str) {
        let got = toml::from_str::<Ruleset>(toml)
            .map_err(|error| error.to_string())
            .and_then(|ruleset| ruleset.validate().map_err(|error| error.to_string()))
            .err()
            .unwrap_or_default();
        let right = if expect.is_empty() { got.is_empty() } else { got.contains(expect) };
        assert!(right, "got {got:?}, expected {expect:?}");
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(toml::from_str::<Ruleset>("").unwrap(), Ruleset::default());
        check("", "");
        let written = toml::to_string(&Ruleset::default()).unwrap();
        assert_eq!(toml::from_str::<Ruleset>(&written).unwrap(), Ruleset::default());
    }

    #[test]
    fn one_threshold_can_be_set_alone() {
        let ruleset: Ruleset = toml::from_str("[velocity]\nenabled = false").unwrap();
        assert_eq!(ruleset.velocity, Velocity { enabled: false, ..Velocity::default() });
        assert_eq!(ruleset.amount_spike, AmountSpike::default());
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        check("velocty = 1", "unknown field `velocty`");
        check("[velocity]\nwindow_s = 60", "unknown field `window_s`");
        check("[amount_spike]\nfactor = 10", "unknown field `factor`");
        check("[dawn_high_amount]\nzone = 'UTC'", "unknown field `zone`");
        check("[unusual_category]\ntiers = []", "unknown field `tiers`");
    }

    #[test]
    fn every_threshold_is_part_of_the_content_and_the_longest_fits_the_store() {
        let default = Ruleset::default();
        assert_eq!(
            default.content(),
            r#"{"velocity":{"enabled":true,"payments_min":5,"window_ms":60000},"amount_spike":"#
                .to_owned()
                + r#"{"enabled":true,"factor_permille":10000,"earlier_min":5},"dawn_high_amount":"#
                + r#"{"enabled":true,"from_hour":0,"to_hour":6,"time_zone":"Asia/Seoul","#
                + r#""amount_min":5000000},"unusual_category":{"enabled":true,"tier":"normal","#
                + r#""category":"luxury","amount_min":10000000}}"#
        );
        let mut longest = Ruleset::default();
        longest.velocity.window_ms = WINDOW_MS_MAX;
        longest.amount_spike.earlier_min = u64::MAX;
        longest.dawn_high_amount.time_zone = "America/Argentina/ComodRivadavia".into();
        longest.dawn_high_amount.amount_min = i64::MAX;
        longest.unusual_category.category = "\u{1}".repeat(TEXT_BYTES_MAX);
        longest.unusual_category.amount_min = i64::MAX;
        longest.validate().unwrap();
        assert!(longest.content().len() <= store::rulesets::RULES_BYTES_MAX);
    }

    #[test]
    fn values_out_of_bounds_name_their_field() {
        check("[velocity]\npayments_min = 0", "velocity.payments_min: is 0; must be 1 to 128");
        check("[velocity]\npayments_min = 128", "");
        check("[velocity]\npayments_min = 129", "velocity.payments_min: is 129");
        check("[velocity]\nwindow_ms = 0", "velocity.window_ms");
        check("[velocity]\nwindow_ms = 86_400_001", "velocity.window_ms");
        check("[amount_spike]\nfactor_permille = 0", "amount_spike.factor_permille");
        check("[amount_spike]\nfactor_permille = 1_000_000_001", "amount_spike.factor_permille");
        check("[amount_spike]\nearlier_min = 0", "amount_spike.earlier_min");
        check("[dawn_high_amount]\nfrom_hour = 24", "dawn_high_amount.from_hour");
        check("[dawn_high_amount]\nto_hour = 25", "dawn_high_amount.to_hour");
        check("[dawn_high_amount]\nfrom_hour = 6", "dawn_high_amount.to_hour: equals from_hour");
        check("[dawn_high_amount]\nfrom_hour = 22", "");
        check("[dawn_high_amount]\namount_min = -1", "dawn_high_amount.amount_min");
        check("[dawn_high_amount]\ntime_zone = 'Asia/Soul'", "dawn_high_amount.time_zone");
        check("[unusual_category]\ncategory = ''", "unusual_category.category");
        check("[unusual_category]\namount_min = -1", "unusual_category.amount_min");
    }
}
