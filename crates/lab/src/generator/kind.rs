//! The kinds of fraud that are injected.

/// The kinds of fraud, one for each rule.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Five or more payments with a card within a minute.
    Velocity,
    /// Ten times the card's mean, or more.
    AmountSpike,
    /// 5,000,000 KRW or more before six in the morning.
    DawnHighAmount,
    /// 10,000,000 KRW or more on luxury by a normal user.
    UnusualCategory,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Velocity, Self::AmountSpike, Self::DawnHighAmount, Self::UnusualCategory];

    /// Its name, which is also that of the rule that should find it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Velocity => "velocity",
            Self::AmountSpike => "amount_spike",
            Self::DawnHighAmount => "dawn_high_amount",
            Self::UnusualCategory => "unusual_category",
        }
    }
}
