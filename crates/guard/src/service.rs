//! What guards one service: breaker, rate, limit and budget together.

use std::time::{Duration, Instant};

use crate::{
    Breaker, BreakerOptions, Budget, BudgetOptions, Limit, LimitOptions, Outcome, Pace, Pass, Rate,
    Started, State,
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
}

/// What a guard shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Attempts that may be under way, after the ramp's share.
    pub limit: u32,
    /// Attempts that are.
    pub under_way: u32,
    /// Attempts that may begin in 1,000 seconds.
    pub per_1000_s: u64,
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
    limit: Limit,
    breaker: Breaker,
    budget: Budget,
}

impl Guard {
    /// A guard of a service that is not known yet.
    #[must_use]
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            rate: Rate::full(options.pace, now),
            limit: Limit::new(options.limit, now),
            breaker: Breaker::new(options.breaker, now),
            budget: Budget::new(options.budget, now),
        }
    }

    /// Changes the rate; see [`Rate::set`].
    pub fn set_pace(&mut self, pace: Pace, now: Instant) {
        if self.rate.pace() != pace {
            self.rate.set(pace, now);
        }
    }

    /// Begins an attempt. Nothing is used up by one that may not begin.
    ///
    /// # Errors
    /// Why it may not.
    pub fn start(&mut self, is_retry: bool, now: Instant) -> Result<Attempt, Refusal> {
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
        Ok(Attempt { started: self.limit.start(now), pass: self.breaker.pass(now) })
    }

    /// An attempt has ended. `retry_after` is what the service asked for, if it did.
    pub fn finish(
        &mut self,
        attempt: Attempt,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.limit.finish(attempt.started, outcome, now);
        self.breaker.settle(attempt.pass, outcome, now);
        if let Some(pause) = retry_after {
            self.rate.retry_after(pause, now);
        }
    }

    /// What it does now.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Figures {
        let usable = u64::from(self.breaker.usable_permille(now));
        let limit = (u64::from(self.limit.limit()) * usable).div_ceil(1000);
        Figures {
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            under_way: self.limit.under_way(),
            per_1000_s: self.rate.pace().per_1000_s,
            breaker: self.breaker.state(),
            retries_saved: self.budget.saved(),
            retries_denied: self.budget.denied(),
        }
    }
}
