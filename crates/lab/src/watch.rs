//! Shows a pipeline at work: takes samples, and hands them to the view.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use buffer::{Buffer, Depth};
use engine::Stats;
use model::clock::Clock;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::memory;
use crate::pace::Outcome;
use crate::view::{Phase, Picture, Sample, View};

/// How far the traffic is; whoever offers it keeps it up to date.
pub type Offered = Arc<Mutex<Outcome>>;

/// Where the samples of a pipeline come from.
pub struct Watched {
    /// What its engine has done.
    pub stats: Arc<Stats>,
    /// Where its events wait.
    pub buffer: Arc<dyn Buffer>,
    /// Ages are told by it.
    pub clock: Arc<dyn Clock>,
    /// How far the traffic is.
    pub offered: Offered,
    /// The names of the fraud rules.
    pub rules: Vec<&'static str>,
    /// What `/metrics` shows.
    pub metrics: Box<dyn Fn() -> String + Send>,
}

/// A view, and where its samples come from.
pub struct Watch {
    picture: Picture,
    /// `None` once nobody looks any more: whoever read standard output has gone away.
    view: Option<View>,
    began: Instant,
    watched: Watched,
    depth: Depth,
}

impl Watch {
    /// Shows `picture`, with what is sampled of `watched`.
    #[must_use]
    pub fn new(picture: Picture, view: View, watched: Watched) -> Self {
        let (began, depth) = (Instant::now(), Depth::default());
        Self { picture, view: Some(view), began, watched, depth }
    }

    /// Shows what goes on until `work` is done, and returns what it came to. Cancels `stop` when
    /// the person at the keyboard asks for it, or nobody looks any more.
    pub async fn during<T>(
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
        let Watched { stats, buffer, clock, offered, rules, metrics } = &self.watched;
        // A buffer that can't be looked at just now shows as it was: what it means that it can't be
        // read, the engine finds out, and says.
        self.depth = buffer.depth().await.unwrap_or(self.depth);
        let depth = self.depth;
        let age_ms = |since_ms: i64| clock.now_ms().saturating_sub(since_ms).max(0);
        let (counts, latency) = (stats.counts(), stats.latency());
        let offered = offered.lock().unwrap_or_else(PoisonError::into_inner).clone();
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
            flagged: flagged(rules, &metrics()),
            memory_mib: memory::rss_mib_max(),
        }
    }
}

/// How many payments each rule flagged, as `/metrics` shows it.
fn flagged(rules: &[&'static str], metrics: &str) -> Vec<(&'static str, u64)> {
    let counted = |rule: &str| {
        let name = format!("flagged_payments_total{{rule=\"{rule}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    };
    rules.iter().map(|rule| (*rule, counted(rule))).collect()
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
        let rules = ["velocity", "amount_spike", "unusual_category"];
        let expect = [("velocity", 12), ("amount_spike", 0), ("unusual_category", 3)];
        assert_eq!(flagged(&rules, metrics), expect);
    }
}
