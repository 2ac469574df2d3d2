//! How long events take, counted in buckets that many lanes fill without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets for each doubling: a bucket is at most 1/64 of its value wide, so a quantile is at most
/// 1.6% too high.
const STEPS_LOG2: u32 = 6;
const STEPS: u64 = 1 << STEPS_LOG2;
/// Latencies from here on (34 years) share the last bucket.
const VALUE_BITS_MAX: u32 = 40;
const BUCKETS: usize = ((VALUE_BITS_MAX - STEPS_LOG2 + 1) as usize) << STEPS_LOG2;

/// A histogram of latencies in milliseconds: exact below 128 ms, within 1.6% above.
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    max_ms: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, max_ms: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts `count` events that took `latency_ms` each.
    pub fn record(&self, latency_ms: u64, count: u64) {
        self.buckets[bucket_of(latency_ms)].fetch_add(count, Ordering::Relaxed);
        self.max_ms.fetch_max(latency_ms, Ordering::Relaxed);
    }

    /// How many events were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The longest, in milliseconds, exactly; 0 when nothing was counted.
    #[must_use]
    pub fn max_ms(&self) -> u64 {
        self.max_ms.load(Ordering::Relaxed)
    }

    /// The latency that a share `quantile` (0.0 to 1.0) of all events did not exceed, in
    /// milliseconds; 0 when nothing was counted.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> u64 {
        let counts: Vec<u64> =
            self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = rank_of(quantile, total);
        let mut seen = 0;
        for (bucket, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest_of(bucket).min(self.max_ms());
            }
        }
        self.max_ms()
    }
}

/// Which of `total` events, counted from 1, stands at `quantile`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the product lies between 0 and total, give or take what an f64 can't hold"
)]
fn rank_of(quantile: f64, total: u64) -> u64 {
    ((quantile.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total.max(1))
}

fn bucket_of(latency_ms: u64) -> usize {
    let value = latency_ms.min((1 << VALUE_BITS_MAX) - 1);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEPS_LOG2 + 1);
    let bucket = u64::from(shift) * STEPS + (value >> shift);
    usize::try_from(bucket).expect("there are fewer than 3000 buckets")
}

/// The largest value that falls into this bucket.
fn highest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = bucket - shift * STEPS;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_a_bucket_whose_top_is_at_most_two_percent_above() {
        let mut value = 0;
        while value < 1 << VALUE_BITS_MAX {
            let top = highest_of(bucket_of(value));
            assert!(top >= value && (top - value) * 64 <= value, "{value} reads as {top}");
            assert_eq!(bucket_of(top), bucket_of(value));
            assert_eq!(bucket_of(top + 1), bucket_of(value) + usize::from(top + 1 < 1 << 40));
            value = value + 1 + value / 37;
        }
    }

    #[test]
    fn quantiles_match_a_sorted_list() {
        let histogram = Histogram::default();
        let mut sorted: Vec<u64> = (0..10_000).map(|n| n * n % 7919).collect();
        for latency_ms in &sorted {
            histogram.record(*latency_ms, 1);
        }
        sorted.sort_unstable();
        for (quantile, rank) in [(0.5, 5000), (0.99, 9900), (0.999, 9990)] {
            let (exact, got) = (sorted[rank - 1], histogram.quantile_ms(quantile));
            assert!(got >= exact && (got - exact) * 50 <= exact, "{quantile}: {got} for {exact}");
        }
        assert_eq!(histogram.count(), 10_000);
        assert_eq!(histogram.quantile_ms(1.0), *sorted.last().unwrap());
        assert_eq!(histogram.quantile_ms(0.0), 0);
    }

    #[test]
    fn nothing_counted_reads_as_nothing() {
        let histogram = Histogram::default();
        assert_eq!((histogram.quantile_ms(0.99), histogram.max_ms(), histogram.count()), (0, 0, 0));
    }

    #[test]
    fn the_longest_possible_latency_is_counted_too() {
        let histogram = Histogram::default();
        histogram.record(u64::MAX, 3);
        assert_eq!((histogram.count(), histogram.max_ms()), (3, u64::MAX));
    }
}
