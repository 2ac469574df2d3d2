//! How the rate moves over a run.

use std::f64::consts::TAU;
use std::fmt;
use std::str::FromStr;

/// The rate over time, as a multiple of the mean, over a run's time from 0 to 1. Every profile's
/// mean is 1: a run offers its mean rate times its duration, whatever the profile.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The same throughout.
    #[default]
    Steady,
    /// Half the mean, and three times the mean in the fifth in the middle.
    Spike,
    /// From a tenth of the mean to 1.9 times the mean, in a straight line.
    Ramp,
    /// A day: 0.2 times the mean at four in the morning, 1.8 times at four in the afternoon.
    Daily,
}

/// When the spike begins and ends, and the rates outside and inside of it.
const SPIKE: (f64, f64, f64, f64) = (0.4, 0.6, 0.5, 3.0);
/// Where a ramp begins, and how much it gains.
const RAMP: (f64, f64) = (0.1, 1.8);
/// How far a day swings to either side of the mean, and when it is at its lowest.
const DAILY: (f64, f64) = (0.8, 4.0 / 24.0);
/// Halvings when the day's curve is inverted: to a part in 2^48 of the run.
const HALVINGS: u32 = 48;

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Steady, Self::Spike, Self::Ramp, Self::Daily];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Spike => "spike",
            Self::Ramp => "ramp",
            Self::Daily => "daily",
        }
    }

    /// The rate at `x` of the run, as a multiple of the mean.
    #[must_use]
    pub fn rate(self, x: f64) -> f64 {
        match self {
            Self::Steady => 1.0,
            Self::Spike => {
                let (from, to, low, high) = SPIKE;
                if (from..to).contains(&x) { high } else { low }
            }
            Self::Ramp => RAMP.0 + RAMP.1 * x,
            Self::Daily => 1.0 - DAILY.0 * (TAU * (x - DAILY.1)).cos(),
        }
    }

    /// The share of the run's events that are due by `x` of the run: the integral of the rate.
    #[must_use]
    pub fn share(self, x: f64) -> f64 {
        match self {
            Self::Steady => x,
            Self::Spike => {
                let (from, to, low, high) = SPIKE;
                x.mul_add(low, (x.clamp(from, to) - from) * (high - low))
            }
            Self::Ramp => x * RAMP.0 + x * x * RAMP.1 / 2.0,
            Self::Daily => {
                let swing = (TAU * (x - DAILY.1)).sin() + (TAU * DAILY.1).sin();
                x - DAILY.0 / TAU * swing
            }
        }
    }

    /// When that share is due: the inverse of [`Profile::share`].
    #[must_use]
    pub fn when(self, share: f64) -> f64 {
        match self {
            Self::Steady => share,
            Self::Spike => {
                let (from, to, low, high) = SPIKE;
                let (begun, ended) = (self.share(from), self.share(to));
                match share {
                    _ if share < begun => share / low,
                    _ if share < ended => from + (share - begun) / high,
                    _ => to + (share - ended) / low,
                }
            }
            Self::Ramp => {
                let (start, gain) = RAMP;
                ((start * start + 2.0 * gain * share).sqrt() - start) / gain
            }
            Self::Daily => {
                let (mut low, mut high) = (0.0, 1.0);
                for _ in 0..HALVINGS {
                    let middle = f64::midpoint(low, high);
                    if self.share(middle) < share { low = middle } else { high = middle }
                }
                low
            }
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|profile| profile.name() == name).ok_or_else(|| {
            format!("there is no profile {name}; the profiles are steady, spike, ramp and daily")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_offers_its_mean_over_the_whole_run() {
        for profile in Profile::ALL {
            let sum: f64 = (0..10_000).map(|n| profile.rate((f64::from(n) + 0.5) / 10_000.0)).sum();
            assert!((sum / 10_000.0 - 1.0).abs() < 0.001, "{profile}: {sum}");
            assert!((profile.share(1.0) - 1.0).abs() < 1e-9, "{profile}");
            assert!(profile.share(0.0).abs() < 1e-9, "{profile}");
        }
    }

    #[test]
    fn the_share_grows_with_the_rate_and_its_inverse_undoes_it() {
        for profile in Profile::ALL {
            for n in 1..1_000 {
                let x = f64::from(n) / 1_000.0;
                let slope = (profile.share(x + 1e-6) - profile.share(x - 1e-6)) / 2e-6;
                let at_a_corner = profile == Profile::Spike && (n == 400 || n == 600);
                assert!(at_a_corner || (slope - profile.rate(x)).abs() < 1e-3, "{profile} at {x}");
                assert!((profile.when(profile.share(x)) - x).abs() < 1e-9, "{profile} at {x}");
            }
        }
    }

    #[test]
    fn a_profile_is_known_by_its_name() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert!("stedy".parse::<Profile>().is_err());
    }
}
