//! What a rule found, in a form that explains itself.

use std::fmt;

use model::payment::Tier;
use serde::Serialize;

/// A rule. In JSON and in the store it is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Many payments in a short time.
    Velocity,
    /// One payment far above the card's mean.
    AmountSpike,
    /// A large payment in the small hours.
    DawnHighAmount,
    /// A large payment in a category that the tier rarely buys.
    UnusualCategory,
}

impl Rule {
    /// All rules, in the order in which they run and hits are listed.
    pub const ALL: [Self; 4] =
        [Self::Velocity, Self::AmountSpike, Self::DawnHighAmount, Self::UnusualCategory];

    /// The name in files, in the store and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Velocity => "velocity",
            Self::AmountSpike => "amount_spike",
            Self::DawnHighAmount => "dawn_high_amount",
            Self::UnusualCategory => "unusual_category",
        }
    }
}

/// One rule fired: it saw `observed`, which is at least `threshold`. Both are a number of payments
/// for `velocity` and KRW for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// Which rule.
    pub rule: Rule,
    /// What was seen.
    pub observed: i128,
    /// From where on the rule fires.
    pub threshold: i128,
    /// What the observation, or the threshold, was taken from.
    pub basis: Basis,
}

/// What a hit rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Basis {
    /// Of [`Rule::Velocity`].
    Window {
        /// Payments of the card with an event time in `(t − window_ms, t]` were counted.
        window_ms: i64,
    },
    /// Of [`Rule::AmountSpike`].
    Mean {
        /// How many times the mean, in thousandths.
        factor_permille: u32,
        /// How many payments the card had settled before.
        earlier_count: u64,
        /// What they came to, in KRW.
        earlier_sum: i128,
    },
    /// Of [`Rule::DawnHighAmount`].
    LocalTime {
        /// When it was paid: `HH:MM:SS` on a clock there.
        local_time: String,
        /// Where the clock hangs.
        time_zone: String,
        /// The first hour of the span.
        from_hour: u8,
        /// The hour that is outside again.
        to_hour: u8,
    },
    /// Of [`Rule::UnusualCategory`].
    Category {
        /// Whose payment.
        tier: Tier,
        /// For what.
        category: String,
    },
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, observed, threshold, basis } = self;
        write!(f, "{}: ", rule.name())?;
        match basis {
            Basis::Window { window_ms } => {
                write!(f, "{observed} payments within {window_ms} ms, flagged from {threshold}")
            }
            Basis::Mean { factor_permille, earlier_count, .. } => write!(
                f,
                "{observed} KRW, flagged from {threshold} KRW, which is {}.{:03} times the mean of \
                 {earlier_count} earlier payments",
                factor_permille / 1000,
                factor_permille % 1000
            ),
            Basis::LocalTime { local_time, time_zone, .. } => write!(
                f,
                "{observed} KRW at {local_time} in {time_zone}, flagged from {threshold} KRW"
            ),
            Basis::Category { tier, category } => write!(
                f,
                "{observed} KRW for {category} by tier {}, flagged from {threshold} KRW",
                tier.name()
            ),
        }
    }
}
