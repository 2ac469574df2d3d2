//! Shows a pipeline at work: takes samples, and hands them to the view.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use buffer::{Buffer, Depth};
use engine::Stats;
use lab::pace::Outcome;
use server::Telemetry;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::open;
use crate::payments::Payments;
use crate::view::{Phase, Picture, Sample, View};

/// How far the traffic is; whoever offers it keeps it up to date.
pub(crate) type Offered = Arc<Mutex<Outcome>>;

/// A view, and where its samples come from.
pub(crate) struct Watch {
    picture: Picture,
    /// `None` once nobody looks any more: whoever read standard output has gone away.
    view: Option<View>,
    began: Instant,
    telemetry: Telemetry,
    stats: Arc<Stats>,
    buffer: Arc<dyn Buffer>,
    offered: Offered,
    depth: Depth,
}

impl Watch {
    /// Watches `payments`, into which `offered` is being offered.
    ///
    /// # Errors
    /// If the terminal can't be set up.
    pub(crate) fn new(
        picture: Picture,
        plain: bool,
        telemetry: Telemetry,
        payments: &Payments,
        offered: &Offered,
    ) -> io::Result<Self> {
        Ok(Self {
            picture,
            view: Some(View::open(plain)?),
            began: Instant::now(),
            telemetry,
            stats: payments.stats().clone(),
            buffer: payments.buffer().clone(),
            offered: offered.clone(),
            depth: Depth::default(),
        })
    }

    /// Shows what goes on until `work` is done, and returns what it came to. Cancels `stop` when
    /// the person at the keyboard asks for it, or nobody looks any more.
    pub(crate) async fn during<T>(
        &mut self,
        phase: Phase,
        stop: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let every = self.view.as_ref().map_or(Duration::from_secs(1), View::every);
        // The first tick is not at once: there is nothing to be seen yet.
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => self.frame(phase, stop).await,
            }
        }
    }

    async fn frame(&mut self, phase: Phase, stop: &CancellationToken) {
        let sample = self.sample().await;
        self.picture.update(self.began.elapsed(), phase, sample);
        let Some(view) = &mut self.view else { return };
        let gone = view.show(&self.picture).is_err();
        if gone || view.asked_to_stop() {
            stop.cancel();
        }
        if gone {
            self.view = None;
        }
    }

    async fn sample(&mut self) -> Sample {
        // A buffer that can't be looked at just now shows as it was: what it means that it can't be
        // read, the engine finds out, and says.
        self.depth = self.buffer.depth().await.unwrap_or(self.depth);
        let depth = self.depth;
        let age_ms = |since_ms: i64| open::clock().now_ms().saturating_sub(since_ms).max(0);
        let counts = self.stats.counts();
        let latency = self.stats.latency();
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Sample {
            offered: offered.offered,
            accepted: offered.accepted,
            refused: offered.refused,
            settled: counts.settled,
            duplicates: counts.duplicates,
            depth,
            oldest_age_ms: depth.oldest_accepted_ms.map_or(0, age_ms).unsigned_abs(),
            p50_ms: latency.quantile_ms(0.5),
            p99_ms: latency.quantile_ms(0.99),
            max_ms: latency.max_ms(),
            flagged: flagged(&self.telemetry.render()),
            memory_mib: lab::memory::rss_mib_max(),
        }
    }
}

/// How many payments each rule flagged, as `/metrics` shows it.
fn flagged(metrics: &str) -> Vec<(&'static str, u64)> {
    let counted = |rule: fraud::Rule| {
        let name = format!("flagged_payments_total{{rule=\"{}\"}} ", rule.name());
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    };
    fraud::Rule::ALL.into_iter().map(|rule| (rule.name(), counted(rule))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_off_the_metrics_and_absent_ones_are_none() {
        let metrics = "# TYPE flagged_payments_total counter\n\
                       flagged_payments_total 0\n\
                       flagged_payments_total{rule=\"velocity\"} 12\n\
                       flagged_payments_total{rule=\"unusual_category\"} 3\n";
        let expect = [
            ("velocity", 12),
            ("amount_spike", 0),
            ("dawn_high_amount", 0),
            ("unusual_category", 3),
        ];
        assert_eq!(flagged(metrics), expect);
    }
}
