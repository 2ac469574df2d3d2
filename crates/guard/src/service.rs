//! What guards one service: breaker, rate, limit and budget together.

use std::time::{Duration, Instant};

use crate::shared::NOTHING;
use crate::{
    Breaker, BreakerOptions, Budget, BudgetOptions, Limit, LimitOptions, Outcome, Pace, Pass, Rate,
    Shared, Started, State,
};

/// How a service is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How often attempts may begin.
    pub pace: Pace,
    /// How many may be under way.
    pub limit: LimitOptions,
    /// When it is not called at all.
    pub breaker: BreakerOptions,
    /// How many attempts may be retries.
    pub budget: BudgetOptions,
}

/// Why an attempt may not begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The breaker is open, or its probes are under way. Ask again after this time.
    Broken(Duration),
    /// The rate is used up, or the service asked for a pause. Ask again after this time.
    TooSoon(Duration),
    /// As many attempts as the limit allows are under way. Ask again when one has ended.
    Full,
    /// Too many attempts were retries.
    NoRetry,
}

/// An attempt under way. It goes back with [`Guard::finish`], whatever became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Attempt {
    started: Started,
    pass: Pass,
    is_retry: bool,
}

/// What a guard shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Attempts that may be under way, after the ramp's share.
    pub limit: u32,
    /// Attempts that are.
    pub under_way: u32,
    /// Attempts that may begin in 1,000 seconds, in this process.
    pub per_1000_s: u64,
    /// Processes that share the rate: 1 for a rate of this process alone, 0 while this process may use nothing of a
    /// shared one.
    pub processes: u32,
    /// What the breaker does.
    pub breaker: State,
    /// Retries that are saved up.
    pub retries_saved: u64,
    /// Retries that were refused since the start.
    pub retries_denied: u64,
}

/// See the module. Times that are passed in must not go back.
#[derive(Debug, Clone)]
pub struct Guard {
    rate: Rate,
    /// What the rate follows where it is of several processes.
    shared: Option<Shared>,
    limit: Limit,
    breaker: Breaker,
    budget: Budget,
    shown_by: Option<String>,
}

impl Guard {
    /// A guard of a service that is not known yet.
    #[must_use]
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            rate: Rate::full(options.pace, now),
            shared: None,
            limit: Limit::new(options.limit, now),
            breaker: Breaker::new(options.breaker, now),
            budget: Budget::new(options.budget, now),
            shown_by: None,
        }
    }

    /// The same, where `options.pace` is of all live processes together. No attempt begins before
    /// [`Guard::heard`]; see [`Shared`].
    #[must_use]
    pub fn sharing(options: Options, heartbeat: Duration, now: Instant) -> Self {
        Self {
            rate: Rate::empty(NOTHING, now),
            shared: Some(Shared::new(options.pace, heartbeat)),
            ..Self::new(options, now)
        }
    }

    /// Whether its rate is of several processes together.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Of a shared rate: this process' row was written, and after that all rows were read. `processes` of them are
    /// live and call this service, this one included. Its row has been there for `joined_ago`; `began` is the moment
    /// before the writing.
    pub fn heard(&mut self, processes: u32, joined_ago: Duration, began: Instant, now: Instant) {
        let Some(shared) = &mut self.shared else { return };
        let row = now.checked_sub(joined_ago).unwrap_or(now);
        // The row may be older than its entry about this service.
        shared.joined(if shared.is_joined() { row } else { now });
        shared.seen(processes, began);
    }

    /// Of a shared rate: other processes do not count this one any more, and it uses nothing from now on.
    pub fn dropped(&mut self, now: Instant) {
        if let Some(shared) = &mut self.shared {
            shared.dropped();
        }
        self.follow(now);
    }

    /// The rate becomes this process' part of the shared one. A process that may use nothing saves nothing up.
    fn follow(&mut self, now: Instant) {
        let Some(shared) = &self.shared else { return };
        let pace = shared.pace(now);
        if pace == self.rate.pace() {
            return;
        }
        self.rate.set(pace, now);
        if pace == NOTHING {
            self.rate.retry_after(Duration::ZERO, now);
        }
    }

    /// Whether the figures are to be shown under this name: a guard that several pipelines share is shown by the one
    /// that asked first, until that one calls [`Guard::unshow`]. So that no sum counts it twice.
    pub fn is_shown_by(&mut self, name: &str) -> bool {
        self.shown_by.get_or_insert_with(|| name.to_owned()) == name
    }

    /// Lets another pipeline show the figures.
    pub fn unshow(&mut self, name: &str) {
        self.shown_by.take_if(|shown_by| shown_by == name);
    }

    /// Begins an attempt. Nothing is used up by one that may not begin.
    ///
    /// # Errors
    /// Why it may not.
    pub fn start(&mut self, is_retry: bool, now: Instant) -> Result<Attempt, Refusal> {
        self.follow(now);
        self.breaker.ready(now).map_err(Refusal::Broken)?;
        if !self.limit.ready(self.breaker.usable_permille(now)) {
            return Err(Refusal::Full);
        }
        self.rate.ready(now).map_err(Refusal::TooSoon)?;
        if is_retry {
            if !self.budget.take(now) {
                return Err(Refusal::NoRetry);
            }
        } else {
            self.budget.called();
        }
        self.rate.take(now).map_err(Refusal::TooSoon)?;
        Ok(Attempt { started: self.limit.start(now), pass: self.breaker.pass(now), is_retry })
    }

    /// Whether the next attempt that may begin looks whether the service is back. A retry says less of that than
    /// a first attempt.
    pub fn is_probing(&mut self, now: Instant) -> bool {
        self.breaker.is_probing(now)
    }

    /// Whether the breaker lets more pass than probes.
    pub fn passes_all(&mut self, now: Instant) -> bool {
        self.breaker.passes_all(now)
    }

    /// An attempt has ended. `retry_after` is what the service asked for, if it did. A retry that fails once more
    /// says nothing, unless it is a probe: requests that never succeed would look like a service that is away. The
    /// budget bounds them.
    pub fn finish(
        &mut self,
        attempt: Attempt,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let Attempt { started, pass, is_retry } = attempt;
        let outcome = match outcome {
            Outcome::Failed | Outcome::TimedOut if is_retry && !pass.is_probe() => {
                Outcome::Abandoned
            }
            Outcome::Good | Outcome::Rejected if is_retry => {
                self.budget.answered();
                outcome
            }
            outcome => outcome,
        };
        self.limit.finish(started, outcome, now);
        self.breaker.settle(pass, outcome, now);
        if let Some(pause) = retry_after {
            self.rate.retry_after(pause, now);
        }
    }

    /// Attempts that may be under way now, after the ramp's share.
    #[must_use]
    pub fn limit(&self, now: Instant) -> u32 {
        let usable = u64::from(self.breaker.usable_permille(now));
        let limit = (u64::from(self.limit.limit()) * usable).div_ceil(1000);
        u32::try_from(limit).unwrap_or(u32::MAX)
    }

    /// What the breaker does.
    #[must_use]
    pub fn breaker(&self) -> State {
        self.breaker.state()
    }

    /// What it does now.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Figures {
        let pace = self.shared.as_ref().map_or(self.rate.pace(), |shared| shared.pace(now));
        Figures {
            limit: self.limit(now),
            under_way: self.limit.under_way(),
            per_1000_s: pace.per_1000_s,
            processes: self.shared.as_ref().map_or(1, |shared| shared.processes(now)),
            breaker: self.breaker.state(),
            retries_saved: self.budget.saved(),
            retries_denied: self.budget.denied(),
        }
    }
}
