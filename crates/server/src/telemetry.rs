//! The recorder of metrics: every part of the process records through the `metrics` crate, and this
//! is where it goes and how it reads as Prometheus text.
//!
//! Invariants
//! - A scrape of a fresh process shows every counter and histogram, at zero: a rate can be computed
//!   from the first increment on.
//! - Samples of histograms are kept for at most [`UPKEEP`], then only their buckets are.
//! - The series of a pipeline end when it is removed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use buffer::Depth;
use metrics::{
    SharedString, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::series::Series;

/// How often samples are folded into buckets.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of the buckets of every histogram of seconds: 0.1 ms to 10 s.
pub const BUCKETS_S: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Counters, with what they count. Shown at zero without labels; those who count may add series with
/// a label (pipeline, rule) of their own.
const COUNTERS: [(&str, &str); 9] = [
    ("processed_tasks_total", "Events settled."),
    ("processed_tasks_failed_total", "Attempts to settle that failed."),
    ("redelivered_total", "Events leased more than once."),
    ("duplicates_total", "Events whose effect was there already."),
    ("dead_total", "Events buried."),
    ("flagged_payments_total", "Payments that screening flagged."),
    ("journal_damaged_bytes_total", "Bytes of the journal that were set aside as damaged."),
    ("accepted_total", "Events made durable over HTTP."),
    ("rejected_total", "Events over HTTP that were bad."),
];

/// Histograms of seconds, with what they measure.
const HISTOGRAMS: [(&str, &str); 4] = [
    ("end_to_end_seconds", "From acceptance to settlement of an event."),
    ("journal_commit_seconds", "One group commit of the journal: write and fsync."),
    ("journal_fsync_seconds", "One fsync of the journal."),
    ("store_commit_seconds", "One commit of the store."),
];

/// Gauges set at a scrape, with what they show.
const GAUGES: [(&str, &str); 6] = [
    (
        "buffer_reachable",
        "1 when the depth of the buffer was read. At 0 the other gauges show its spill alone, and NaN for \
         what is unknown.",
    ),
    ("buffer_size", "Events in the buffer: ready and leased."),
    ("buffer_ready", "Events waiting to be leased."),
    ("buffer_leased", "Events held by a lease."),
    ("dead_letters", "Dead letters kept."),
    ("oldest_event_age_seconds", "Age of the oldest event that is neither settled nor buried."),
];

/// The recorder's reading side. Clones share it.
#[derive(Clone)]
pub struct Telemetry(Arc<Series>);

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

static INSTALLED: Mutex<Option<Telemetry>> = Mutex::new(None);

/// Installs the recorder for this process. A second call returns the same one.
///
/// # Errors
/// [`Error::Recorder`] if another recorder is installed already.
pub fn install() -> Result<Telemetry, Error> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(telemetry) = &*installed {
        return Ok(telemetry.clone());
    }
    let series = Arc::new(Series::new(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &BUCKETS_S);
        builder.expect("there are buckets").build_recorder()
    }));
    metrics::set_global_recorder(Arc::clone(&series))
        .map_err(|error| Error::Recorder(error.to_string()))?;
    register();
    Ok(installed.insert(Telemetry(series)).clone())
}

/// Ends all series of a pipeline that was removed. Does nothing where no recorder is installed.
pub fn end_series(pipeline: &str) {
    let installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Telemetry(series)) = &*installed {
        series.end(pipeline);
    }
}

impl Telemetry {
    /// Everything recorded so far, as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds samples into buckets every [`UPKEEP`] until `stop`. [`crate::Service::run`] does so by
    /// itself; a process that runs no server has to.
    pub async fn upkeep(&self, stop: CancellationToken) {
        let mut every = tokio::time::interval(UPKEEP);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            self.0.run_upkeep();
        }
    }
}

/// The content type of [`Telemetry::render`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What could be read of a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen {
    /// All of it.
    Whole(Depth),
    /// Its spill alone: the buffer is out of reach.
    Spill(Depth),
    /// Nothing.
    Nothing,
}

/// Shows what was seen of the buffer called `name` as of `now_ms`. What is unknown reads NaN: an old value
/// would be taken for a true one.
pub(crate) fn show(name: impl Into<SharedString>, seen: Seen, now_ms: i64) {
    let name = name.into();
    let age_s = |depth: Depth| {
        let oldest_ms = depth.oldest_accepted_ms.unwrap_or(now_ms);
        float(now_ms.saturating_sub(oldest_ms).max(0).unsigned_abs()) / 1000.0
    };
    let values = match seen {
        Seen::Whole(depth) => {
            let (ready, leased) = (depth.ready, depth.leased);
            let [size, ready, leased, dead] =
                [ready + leased, ready, leased, depth.dead].map(float);
            [1.0, size, ready, leased, dead, age_s(depth)]
        }
        Seen::Spill(depth) => {
            // Nothing is leased from a spill: what its hand-over holds waits to be leased.
            let waits = float(depth.ready + depth.leased);
            [0.0, waits, waits, f64::NAN, f64::NAN, age_s(depth)]
        }
        Seen::Nothing => [0.0, f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN],
    };
    for ((gauge, _), value) in GAUGES.into_iter().zip(values) {
        gauge!(gauge, "buffer" => name.clone()).set(value);
    }
}

/// Exact up to 2^53, which no buffer holds.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

fn register() {
    for (name, what) in COUNTERS {
        describe_counter!(name, what);
        counter!(name).increment(0);
    }
    for (name, what) in HISTOGRAMS {
        describe_histogram!(name, what);
        let _registered = histogram!(name);
    }
    for (name, what) in GAUGES {
        describe_gauge!(name, what);
    }
    describe_counter!("refused_total", "Good events over HTTP that the buffer did not take.");
    describe_counter!("http_requests_total", "Requests answered.");
}
