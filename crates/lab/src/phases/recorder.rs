//! Latencies, taken while a phase runs.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::measured::{LatencyMs, RatePoint};

/// The longest latency told apart (an hour); anything longer counts as this.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// How long a stretch is for which one rate is shown.
const STRETCH: Duration = Duration::from_millis(500);
/// Stretches kept (an hour); what arrives later counts in the last one.
const STRETCHES_MAX: usize = 7_200;

/// Takes the latency of each payment of one phase. Memory is bounded, whatever is recorded.
#[derive(Debug, Clone)]
pub struct Recorder {
    began: Instant,
    latencies_us: Histogram<u64>,
    max: Duration,
    arrived: Vec<u64>,
}

impl Recorder {
    /// A recorder for a phase that began at `began`.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        let latencies_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS)
            .expect("the bounds are in order and three digits are within 0 to 5");
        Self { began, latencies_us, max: Duration::ZERO, arrived: Vec::new() }
    }

    /// Counts one payment that reached the database at `now` and took `latency`.
    pub fn record(&mut self, now: Instant, latency: Duration) {
        self.record_many(now, latency, 1);
    }

    /// Counts `count` payments that reached the database at `now` and took `latency` each.
    pub fn record_many(&mut self, now: Instant, latency: Duration, count: u64) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies_us.saturating_record_n(latency_us, count);
        self.max = self.max.max(latency);
        let stretch = now.saturating_duration_since(self.began).as_nanos() / STRETCH.as_nanos();
        let stretch = usize::try_from(stretch).unwrap_or(usize::MAX).min(STRETCHES_MAX - 1);
        if self.arrived.len() <= stretch {
            self.arrived.resize(stretch + 1, 0);
        }
        self.arrived[stretch] += count;
    }

    /// Payments recorded.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.arrived.iter().sum()
    }

    /// The percentiles, to three digits, and the slowest exactly; zeros when nothing was recorded.
    #[must_use]
    pub fn latency_ms(&self) -> LatencyMs {
        let max = self.max.as_secs_f64() * 1e3;
        let ms = |quantile| {
            let us = self.latencies_us.value_at_quantile(quantile);
            // A bucket's upper end may lie above the slowest in it.
            (us as f64 / 1e3).min(max)
        };
        LatencyMs { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), max }
    }

    /// Payments a second in each stretch of half a second of a phase that took `took`. The last
    /// stretch is as long as what was left; less than a tenth of a second is left out.
    #[must_use]
    pub fn rate_over_time(&self, took: Duration) -> Vec<RatePoint> {
        let stretch = STRETCH.as_secs_f64();
        let mut totals = vec![(Duration::ZERO, 0)];
        let mut total = 0;
        let stretches = (took.as_secs_f64() / stretch).ceil();
        for (index, arrived) in self.arrived.iter().chain(std::iter::repeat(&0)).enumerate() {
            if index as f64 >= stretches || index >= STRETCHES_MAX {
                break;
            }
            total += arrived;
            totals.push((took.min(Duration::from_secs_f64((index + 1) as f64 * stretch)), total));
        }
        rates(&totals)
    }
}

/// The shortest time between two readings that a rate is told for.
const BETWEEN_MIN: Duration = Duration::from_millis(100);

/// Rates from readings of a counter, for phases whose payments are counted and not timed one by
/// one: pairs of the time since the phase began and the payments in the database by then.
#[must_use]
pub fn rates(totals: &[(Duration, u64)]) -> Vec<RatePoint> {
    let between = totals.iter().zip(totals.iter().skip(1));
    between
        .filter(|((since, _), (until, _))| until.saturating_sub(*since) >= BETWEEN_MIN)
        .map(|((since, before), (until, after))| {
            let seconds = (*until - *since).as_secs_f64();
            RatePoint {
                at_seconds: since.as_secs_f64() + seconds / 2.0,
                rate_per_second: after.saturating_sub(*before) as f64 / seconds,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn percentiles_match_a_sorted_list_and_the_slowest_is_exact() {
        let began = Instant::now();
        let mut recorder = Recorder::new(began);
        for n in (1..=1_000).rev() {
            recorder.record(began, Duration::from_micros(n * 100 + u64::from(n == 1_000)));
        }
        let LatencyMs { p50, p90, p99, max } = recorder.latency_ms();
        for (got, exact) in [(p50, 50.0), (p90, 90.0), (p99, 99.0)] {
            assert!((got - exact).abs() <= exact / 500.0, "{got} for {exact}");
        }
        assert!((max - 100.001).abs() < 1e-9, "{max}");
        assert_eq!(recorder.events(), 1_000);
    }

    #[test]
    fn a_lone_latency_is_every_percentile_and_none_exceeds_the_slowest() {
        let began = Instant::now();
        let mut recorder = Recorder::new(began);
        recorder.record(began, Duration::from_micros(123_456));
        let LatencyMs { p50, p99, max, .. } = recorder.latency_ms();
        assert!(p50 <= max && p99 <= max && p50 > 123.0, "{p50} {p99} {max}");
        assert_eq!(Recorder::new(began).latency_ms(), LatencyMs::default());
    }

    #[test]
    fn rates_are_told_for_each_stretch_and_a_pause_shows_as_nothing() {
        let began = Instant::now();
        let mut recorder = Recorder::new(began);
        recorder.record_many(began + ms(499), ms(1), 10);
        recorder.record_many(began + ms(500), ms(1), 20);
        recorder.record_many(began + ms(1_700), ms(1), 30);
        let points = recorder.rate_over_time(ms(1_750));
        let expected = [(0.25, 20.0), (0.75, 40.0), (1.25, 0.0), (1.625, 120.0)];
        let expected: Vec<_> = expected
            .map(|(at_seconds, rate_per_second)| RatePoint { at_seconds, rate_per_second })
            .into();
        assert_eq!(points, expected);
        assert_eq!(recorder.rate_over_time(ms(1_000)).len(), 2);
        assert_eq!(recorder.rate_over_time(ms(2_500)).last().unwrap().rate_per_second, 0.0);
    }

    #[test]
    fn readings_too_close_together_tell_no_rate() {
        assert_eq!(rates(&[(ms(0), 0), (ms(99), 50)]), []);
        assert_eq!(rates(&[(ms(0), 0), (ms(100), 50)])[0].rate_per_second, 500.0);
        assert_eq!(rates(&[]), []);
    }

    #[test]
    fn what_lasts_for_ever_is_counted_and_takes_no_more_memory() {
        let began = Instant::now();
        let mut recorder = Recorder::new(began);
        let day = Duration::from_secs(86_400);
        recorder.record(began + day, day);
        assert_eq!((recorder.events(), recorder.arrived.len()), (1, STRETCHES_MAX));
        assert_eq!(recorder.latency_ms().max, 86_400_000.0);
    }
}
