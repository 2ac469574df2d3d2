//! What an engine can be told.

use std::ops::RangeInclusive;

use crate::Error;

/// Most lanes of an engine.
pub const LANES_MAX: usize = store::pipelines::LANES_MAX as usize;

/// The bounds and waits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many lanes settle at once: 1 to [`LANES_MAX`].
    pub lanes: usize,
    /// Most events settled in one transaction: 1 to 100,000.
    pub batch_max: usize,
    /// How long a lane that has only a few events waits for more, in milliseconds: 0 to
    /// 60,000. Answers of calls wait as long for more of them, while further calls are under way.
    pub linger_ms: u64,
    /// Most events held at once (leased, and neither settled nor given back), over all lanes:
    /// `batch_max` to 1,000,000. A lane whose key range is hot, or which is retrying, may fill it.
    /// What fills it behind an event that waits alone goes back to the buffer for a while. Where the engine calls,
    /// events that wait for later and those behind them of their keys stay held: at the bound nothing is leased.
    /// All are in memory: 64 KiB each at most.
    pub held_max: usize,
    /// How long the buffer's leases last, in milliseconds: 30 to a day. They are extended by as
    /// much, three times as often.
    pub lease_ms: u64,
    /// How long a stopping engine may take to finish what it holds, in milliseconds. The rest is
    /// given back to the buffer.
    pub drain_timeout_ms: u64,
    /// How often an event that fails by itself is tried before it is buried: 1 to 1,000. An
    /// unavailable store is no failure of the event and is not counted.
    pub attempts_max: u32,
    /// Most events of a lane that wait alone because the store refuses them, one for a key: 1 to
    /// 10,000. At the bound the lane settles no further batch: it tries one pending event after
    /// the other, at the pace of an outage, until the store takes one.
    pub apart_max: usize,
    /// Most that a first retry waits, in milliseconds; doubled for each further one. How long it
    /// waits is drawn anew each time, from nothing to this (full jitter).
    pub backoff_min_ms: u64,
    /// Most that any retry waits, in milliseconds: `backoff_min_ms` to an hour.
    pub backoff_max_ms: u64,
    /// How often what was finished is recorded, in milliseconds: 1 to a day.
    pub completion_interval_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: 2,
            batch_max: 1000,
            linger_ms: 2,
            held_max: 8000,
            lease_ms: 30_000,
            drain_timeout_ms: 10_000,
            attempts_max: 5,
            apart_max: 100,
            backoff_min_ms: 100,
            backoff_max_ms: 500,
            completion_interval_ms: 10_000,
        }
    }
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

impl Options {
    /// # Errors
    /// [`Error::Option`], which names the first field out of bounds.
    pub fn validate(&self) -> Result<(), Error> {
        within("lanes", self.lanes as u64, 1..=LANES_MAX as u64)?;
        within("batch_max", self.batch_max as u64, 1..=100_000)?;
        within("linger_ms", self.linger_ms, 0..=60_000)?;
        within("held_max", self.held_max as u64, self.batch_max as u64..=1_000_000)?;
        within("lease_ms", self.lease_ms, 30..=DAY_MS)?;
        within("drain_timeout_ms", self.drain_timeout_ms, 0..=HOUR_MS)?;
        within("attempts_max", self.attempts_max.into(), 1..=1000)?;
        within("apart_max", self.apart_max as u64, 1..=10_000)?;
        within("backoff_min_ms", self.backoff_min_ms, 1..=HOUR_MS)?;
        within("backoff_max_ms", self.backoff_max_ms, self.backoff_min_ms..=HOUR_MS)?;
        within("completion_interval_ms", self.completion_interval_ms, 1..=DAY_MS)
    }
}

pub(crate) fn within(
    field: &'static str,
    value: u64,
    bounds: RangeInclusive<u64>,
) -> Result<(), Error> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let problem = format!("must be {} to {}, not {value}", bounds.start(), bounds.end());
    Err(Error::Option { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_own_bounds() {
        Options::default().validate().unwrap();
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_what_would_be_right() {
        let check = |options: Options, expected: &str| {
            assert_eq!(options.validate().unwrap_err().to_string(), expected);
        };
        let default = Options::default;
        check(Options { lanes: 0, ..default() }, "lanes: must be 1 to 256, not 0");
        check(Options { held_max: 999, ..default() }, "held_max: must be 1000 to 1000000, not 999");
        check(
            Options { backoff_max_ms: 99, ..default() },
            "backoff_max_ms: must be 100 to 3600000, not 99",
        );
        check(Options { attempts_max: 0, ..default() }, "attempts_max: must be 1 to 1000, not 0");
    }
}
