//! What one phase came to.

use std::time::Duration;

use super::measured::{CoresMean, CpuSample, LatencyMs, RatePoint};
use super::processor::Load;
use super::recorder::Recorder;

/// What one phase came to.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Figures {
    /// A few words that tell it from the others, such as `2 · pool of 16`.
    pub name: String,
    /// What the phase did, in one sentence.
    pub what: String,
    /// What a payment survives once its producer was told that it was taken, in plain words.
    pub durability: String,
    /// Payments whose row is in the database.
    pub events: u64,
    /// How long that took.
    pub seconds: f64,
    /// Payments in the database, by the seconds it took.
    pub rate_per_second: f64,
    /// From the moment a payment was offered until its row was committed.
    pub latency_ms: LatencyMs,
    /// What a producer waits for, where that is less than the whole way: until its payment is
    /// durable in the buffer.
    pub accepted_latency_ms: Option<LatencyMs>,
    /// Payments that failed.
    pub errors: u64,
    /// Processors in use on average; `None` where that can't be known.
    pub cpu_cores_mean: Option<CoresMean>,
    /// Processors in use, over time.
    pub cpu: Vec<CpuSample>,
    /// Payments reaching the database, over time.
    pub rate_over_time: Vec<RatePoint>,
}

impl Figures {
    /// What was recorded and what the processors did meanwhile, in a phase of this length. What
    /// it did and what a payment survives is left to say, as are errors.
    #[must_use]
    pub fn new(name: impl Into<String>, took: Duration, recorder: &Recorder, load: Load) -> Self {
        Self {
            name: name.into(),
            latency_ms: recorder.latency_ms(),
            rate_over_time: recorder.rate_over_time(took),
            cpu_cores_mean: load.mean,
            cpu: load.samples,
            ..Self::default()
        }
        .with_events(recorder.events(), took)
    }

    /// Sets how many payments reached the database in what time, and the rate that makes.
    #[must_use]
    pub fn with_events(self, events: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let rate_per_second = if seconds > 0.0 { events as f64 / seconds } else { 0.0 };
        Self { events, seconds, rate_per_second, ..self }
    }

    /// Processor time for each payment, in microseconds, of this process and of all servers that
    /// were watched; `None` for what can't be known.
    #[must_use]
    pub(super) fn cpu_us_each(&self) -> (Option<f64>, Option<f64>) {
        let each =
            |cores: f64| (self.events > 0).then(|| cores * self.seconds * 1e6 / self.events as f64);
        let Some(mean) = &self.cpu_cores_mean else { return (None, None) };
        let servers = (!mean.servers.is_empty()).then(|| mean.servers.values().sum());
        (each(mean.client), servers.and_then(each))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_rate_is_what_arrived_by_the_time_it_took() {
        let figures = Figures::default().with_events(500, Duration::from_secs(2));
        assert_eq!((figures.seconds, figures.rate_per_second), (2.0, 250.0));
        assert_eq!(Figures::default().with_events(5, Duration::ZERO).rate_per_second, 0.0);
    }

    #[test]
    fn processor_time_is_shared_out_among_the_payments() {
        let servers = BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 0.5)]);
        let mean = Some(CoresMean { client: 0.5, servers });
        let figures = Figures { cpu_cores_mean: mean, ..Figures::default() };
        let figures = figures.with_events(10_000, Duration::from_secs(2));
        assert_eq!(figures.cpu_us_each(), (Some(100.0), Some(300.0)));
        let nothing_arrived = figures.with_events(0, Duration::from_secs(2));
        assert_eq!(nothing_arrived.cpu_us_each(), (None, None));
        assert_eq!(Figures::default().cpu_us_each(), (None, None));
    }
}
