//! What an engine has done so far: in this process, and as metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::latency::Histogram;

/// Counts since the engine started. Lanes add to them batch by batch.
pub struct Stats {
    settled: Tally,
    duplicates: Tally,
    dead: Tally,
    failed: Tally,
    redelivered: Tally,
    waiting: AtomicU64,
    waiting_metric: Gauge,
    latency: Histogram,
    latency_seconds: metrics::Histogram,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events whose effect this engine put into the store.
    pub settled: u64,
    /// Events whose effect was there already.
    pub duplicates: u64,
    /// Events buried.
    pub dead: u64,
    /// Attempts at a batch that failed, for whatever cause.
    pub failed: u64,
    /// Events leased that had been leased before.
    pub redelivered: u64,
}

/// One count, kept here and mirrored into the metric of that name.
struct Tally {
    count: AtomicU64,
    metric: Counter,
}

impl Tally {
    fn add(&self, more: u64) {
        if more > 0 {
            self.count.fetch_add(more, Ordering::Relaxed);
            self.metric.increment(more);
        }
    }

    fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Stats {
    /// Registers the metrics under this pipeline's name. They go to the recorder that is installed
    /// by now.
    pub(crate) fn new(pipeline: &Arc<str>) -> Self {
        describe();
        let tally = |name: &'static str| Tally {
            count: AtomicU64::new(0),
            metric: counter!(name, "pipeline" => pipeline.clone()),
        };
        Self {
            settled: tally("processed_tasks_total"),
            duplicates: tally("duplicates_total"),
            dead: tally("dead_total"),
            failed: tally("processed_tasks_failed_total"),
            redelivered: tally("redelivered_total"),
            waiting: AtomicU64::new(0),
            waiting_metric: gauge!("engine_refused_waiting", "pipeline" => pipeline.clone()),
            latency: Histogram::default(),
            latency_seconds: histogram!("end_to_end_seconds", "pipeline" => pipeline.clone()),
        }
    }

    /// The counts now. They are read one by one, so two of them may be a batch apart.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            settled: self.settled.get(),
            duplicates: self.duplicates.get(),
            dead: self.dead.get(),
            failed: self.failed.get(),
            redelivered: self.redelivered.get(),
        }
    }

    /// Events that the store refuses at the moment. Each of them waits alone and blocks its own key.
    #[must_use]
    pub fn refused_waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// From accepted by the buffer to settled in the store.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    pub(crate) fn finished(&self, settled: u64, duplicates: u64, dead: u64) {
        self.settled.add(settled);
        self.duplicates.add(duplicates);
        self.dead.add(dead);
    }

    pub(crate) fn attempt_failed(&self) {
        self.failed.add(1);
    }

    /// One more event waits alone, or one fewer. Returns how many do.
    pub(crate) fn waits_alone(&self, change: i64) -> u64 {
        let before = self.waiting.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        let waiting = before.wrapping_add_signed(change);
        self.waiting_metric.set(waiting as f64);
        waiting
    }

    /// The engine has ended: what waited is back in the buffer.
    pub(crate) fn none_waits_alone(&self) {
        self.waiting.store(0, Ordering::Relaxed);
        self.waiting_metric.set(0.0);
    }

    pub(crate) fn redelivered(&self, events: u64) {
        self.redelivered.add(events);
    }

    /// `count` events took `latency_ms` each.
    pub(crate) fn took(&self, latency_ms: u64, count: u64) {
        self.latency.record(latency_ms, count);
        let seconds = latency_ms as f64 / 1000.0;
        self.latency_seconds.record_many(seconds, usize::try_from(count).unwrap_or(usize::MAX));
    }
}

fn describe() {
    describe_counter!(
        "processed_tasks_total",
        Unit::Count,
        "Events whose effect was put into the store."
    );
    describe_counter!(
        "processed_tasks_failed_total",
        Unit::Count,
        "Attempts at a batch that failed, for whatever cause."
    );
    describe_counter!(
        "duplicates_total",
        Unit::Count,
        "Events whose effect was in the store already."
    );
    describe_counter!("dead_total", Unit::Count, "Events buried among the dead letters.");
    describe_counter!(
        "redelivered_total",
        Unit::Count,
        "Events leased that had been leased before."
    );
    describe_gauge!(
        "engine_refused_waiting",
        Unit::Count,
        "Events that the store refuses and that wait alone."
    );
    describe_histogram!(
        "end_to_end_seconds",
        Unit::Seconds,
        "From accepted by the buffer to settled in the store."
    );
}
