//! What a spill holds, as metrics.

use std::sync::Arc;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use model::clock::Clock;

use crate::Depth;

pub(super) struct Figures {
    spilled: Counter,
    size: Gauge,
    age_seconds: Gauge,
    clock: Arc<dyn Clock>,
}

impl Figures {
    /// Registers the metrics under the name of the buffer that is stood in for.
    pub(super) fn new(buffer: &str, clock: Arc<dyn Clock>) -> Self {
        describe_counter!(
            "buffer_spilled_total",
            Unit::Count,
            "Events accepted by the local spill because the buffer was unavailable."
        );
        describe_gauge!(
            "buffer_spill_size",
            Unit::Count,
            "Events in the local spill, not yet with the buffer."
        );
        describe_gauge!(
            "buffer_spill_age_seconds",
            Unit::Seconds,
            "Age of the oldest event in the local spill."
        );
        let buffer = || buffer.to_owned();
        Self {
            spilled: counter!("buffer_spilled_total", "buffer" => buffer()),
            size: gauge!("buffer_spill_size", "buffer" => buffer()),
            age_seconds: gauge!("buffer_spill_age_seconds", "buffer" => buffer()),
            clock,
        }
    }

    pub(super) fn spilled(&self, events: usize) {
        self.spilled.increment(events as u64);
    }

    /// Shows the spill's depth as of now. Without one the gauges read NaN: an old value would be
    /// taken for a true one.
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53, which no spill holds")]
    pub(super) fn show(&self, depth: Option<Depth>) {
        let now_ms = self.clock.now_ms();
        let age = |oldest_ms: i64| now_ms.saturating_sub(oldest_ms).max(0) as f64 / 1000.0;
        let oldest = depth.and_then(|depth| depth.oldest_accepted_ms);
        let (size, age) = match depth {
            Some(depth) => ((depth.ready + depth.leased) as f64, oldest.map_or(0.0, age)),
            None => (f64::NAN, f64::NAN),
        };
        self.size.set(size);
        self.age_seconds.set(age);
    }
}
