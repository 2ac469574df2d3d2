//! What an engine of calls shows in metrics: of its calls, of what it holds, and of its guard.
//!
//! Figures of calls are those of one pipeline. A guard may be of several pipelines; one of them shows its figures,
//! so that a sum over pipelines counts them once.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use guard::{Guard, Outcome, Refusal, State};
use metrics::{
    Counter, Gauge, Histogram, Label, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

const OUTCOMES: [&str; 6] = ["good", "rejected", "overloaded", "failed", "timed_out", "abandoned"];
const REASONS: [&str; 4] = ["broken", "too_soon", "full", "no_retry"];

/// Why a call waits, as the place of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Broken,
    TooSoon,
    Full,
    NoRetry,
}

impl From<&Refusal> for Reason {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Broken(_) => Self::Broken,
            Refusal::TooSoon(_) => Self::TooSoon,
            Refusal::Full => Self::Full,
            Refusal::NoRetry => Self::NoRetry,
        }
    }
}

/// Metrics of a pipeline of calls, over all its engines.
pub(crate) struct Stats {
    pipeline: Arc<str>,
    ended: [Counter; OUTCOMES.len()],
    seconds: Histogram,
    parked: Counter,
    held_back: [Counter; REASONS.len()],
    under_way: Gauge,
    held: Gauge,
    waiting: Gauge,
    guard: OnceLock<Guarded>,
}

/// The gauges of a guard.
struct Guarded {
    limit: Gauge,
    under_way: Gauge,
    per_second: Gauge,
    processes: Gauge,
    breaker: Gauge,
    retries_saved: Gauge,
}

impl Stats {
    /// Registers the metrics under this pipeline's name with the recorder that is installed by now.
    pub(crate) fn new(pipeline: &Arc<str>) -> Self {
        describe();
        let by = |metric: &'static str, label: &'static str, value: &'static str| {
            let labels = [Label::new("pipeline", pipeline.clone()), Label::new(label, value)];
            counter!(metric, labels.to_vec())
        };
        Self {
            pipeline: pipeline.clone(),
            ended: OUTCOMES.map(|outcome| by("calls_total", "outcome", outcome)),
            seconds: histogram!("call_seconds", "pipeline" => pipeline.clone()),
            parked: counter!("calls_parked_total", "pipeline" => pipeline.clone()),
            held_back: REASONS.map(|reason| by("calls_held_back_total", "reason", reason)),
            under_way: gauge!("calls_under_way", "pipeline" => pipeline.clone()),
            held: gauge!("calls_held", "pipeline" => pipeline.clone()),
            waiting: gauge!("calls_waiting", "pipeline" => pipeline.clone()),
            guard: OnceLock::new(),
        }
    }

    /// One attempt has ended. An abandoned one says nothing about the duration of a call.
    pub(crate) fn ended(&self, outcome: Outcome, took: Duration) {
        let place = match outcome {
            Outcome::Good => 0,
            Outcome::Rejected => 1,
            Outcome::Overloaded => 2,
            Outcome::Failed => 3,
            Outcome::TimedOut => 4,
            Outcome::Abandoned => 5,
        };
        self.ended[place].increment(1);
        if outcome != Outcome::Abandoned {
            self.seconds.record(took.as_secs_f64());
        }
    }

    pub(crate) fn parked(&self, events: u64) {
        if events > 0 {
            self.parked.increment(events);
        }
    }

    /// A call has to wait for the guard.
    pub(crate) fn held_back(&self, reason: Reason) {
        self.held_back[reason as usize].increment(1);
    }

    /// Calls under way, and events that wait for a set time: for another attempt, or for their first call.
    pub(crate) fn now(&self, under_way: usize, waiting: usize) {
        self.under_way.set(under_way as f64);
        self.waiting.set(waiting as f64);
    }

    /// Shows what is held, and the figures of the guard, unless another pipeline shows them.
    pub(crate) fn look(&self, held: usize, guard: &Mutex<Guard>, now: Instant) {
        self.held.set(held as f64);
        let mut guard = guard.lock().unwrap_or_else(PoisonError::into_inner);
        if !guard.is_shown_by(&self.pipeline) {
            return;
        }
        let figures = guard.figures(now);
        drop(guard);
        let gauges = self.guard.get_or_init(|| Guarded::new(&self.pipeline));
        gauges.limit.set(f64::from(figures.limit));
        gauges.under_way.set(f64::from(figures.under_way));
        gauges.per_second.set(figures.per_1000_s as f64 / 1000.0);
        gauges.processes.set(f64::from(figures.processes));
        gauges.breaker.set(match figures.breaker {
            State::Closed => 0.0,
            State::Ramp => 1.0,
            State::Probing => 2.0,
            State::Open => 3.0,
        });
        gauges.retries_saved.set(figures.retries_saved as f64);
    }

    /// The engine has ended: it holds nothing, and another pipeline may show the guard.
    pub(crate) fn over(&self, guard: &Mutex<Guard>) {
        self.now(0, 0);
        self.held.set(0.0);
        guard.lock().unwrap_or_else(PoisonError::into_inner).unshow(&self.pipeline);
        if let Some(gauges) = self.guard.get() {
            gauges.clear();
        }
    }
}

impl Guarded {
    fn new(pipeline: &Arc<str>) -> Self {
        let gauge = |name: &'static str| gauge!(name, "pipeline" => pipeline.clone());
        Self {
            limit: gauge("guard_limit"),
            under_way: gauge("guard_under_way"),
            per_second: gauge("guard_per_second"),
            processes: gauge("guard_processes"),
            breaker: gauge("guard_breaker_state"),
            retries_saved: gauge("guard_retries_saved"),
        }
    }

    fn clear(&self) {
        let Self { limit, under_way, per_second, processes, breaker, retries_saved } = self;
        for gauge in [limit, under_way, per_second, processes, breaker, retries_saved] {
            gauge.set(0.0);
        }
    }
}

fn describe() {
    describe_counter!(
        "calls_total",
        Unit::Count,
        "Calls to the outside service, by how they ended."
    );
    describe_histogram!("call_seconds", Unit::Seconds, "One call, without its retries.");
    describe_counter!(
        "calls_parked_total",
        Unit::Count,
        "Events that left the buffer unfinished because the store keeps them for later."
    );
    describe_counter!(
        "calls_held_back_total",
        Unit::Count,
        "Calls that were next and had to wait for the guard, once a call and reason. Each denied retry counts."
    );
    describe_gauge!("calls_under_way", Unit::Count, "Calls under way.");
    describe_gauge!(
        "calls_held",
        Unit::Count,
        "Events that are leased, and neither done nor given back: at most engine.held_max."
    );
    describe_gauge!(
        "calls_waiting",
        Unit::Count,
        "Those of them that wait for a set time, for a first call as well, without events behind them."
    );
    describe_gauge!("guard_limit", Unit::Count, "Calls that the adaptive limit allows at once.");
    describe_gauge!("guard_under_way", Unit::Count, "Calls that count against the limit.");
    describe_gauge!(
        "guard_per_second",
        Unit::CountPerSecond,
        "Calls that this process may begin in a second; 1,000,000 where no rate is set."
    );
    describe_gauge!(
        "guard_processes",
        Unit::Count,
        "Live processes that the rate is divided by: 0 while this process may use nothing of it."
    );
    describe_gauge!(
        "guard_breaker_state",
        Unit::Count,
        "0 closed, 1 ramp after a failure, 2 probing, 3 open."
    );
    describe_gauge!("guard_retries_saved", Unit::Count, "Retries that may begin at once.");
}
