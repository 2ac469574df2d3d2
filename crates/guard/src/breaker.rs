//! Whether to call at all: a circuit breaker.
//!
//! ```text
//!            too many failures          `open` has passed         all probes good
//!   Closed ───────────────────► Open ───────────────────► Probing ───────────────► Ramp ──► Closed
//!                                ▲        a probe failed     │     too many failures │
//!                                └──────────────────────────┴──────────────────────┘
//! ```
//!
//! Source: M. Nygard, *Release It!*, second edition, "Circuit Breaker"; the slow start after it is Envoy's.

use std::time::{Duration, Instant};

use crate::Outcome;

/// The window of failures is counted in so many parts.
const PARTS: u32 = 10;
/// What may be used when the ramp begins, in thousandths.
const RAMP_FROM_PERMILLE: u16 = 100;

/// The bounds of a [`Breaker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Failures are counted over this time, 1 s to 10 min.
    pub window: Duration,
    /// Fewer calls in a window never open it, 1 or more.
    pub calls_min: u32,
    /// Share of failures that opens it, in thousandths, 1 to 1,000.
    pub failures_permille: u16,
    /// How long it stays open the first time, 10 ms or more. Each time in a row doubles it.
    pub open: Duration,
    /// The longest that it stays open.
    pub open_max: Duration,
    /// Good probes that end the probing, and how many are under way at once, 1 to 100.
    pub probes: u32,
    /// A probe without an answer after so long counts as failed.
    pub probe_timeout: Duration,
    /// How long after the probes the use grows from a tenth to all.
    pub ramp: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            calls_min: 20,
            failures_permille: 500,
            open: Duration::from_secs(2),
            open_max: Duration::from_secs(60),
            probes: 3,
            probe_timeout: Duration::from_secs(30),
            ramp: Duration::from_secs(10),
        }
    }
}

/// What the breaker does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// None passes.
    Open,
    /// A few pass, to see whether the service is back.
    Probing,
    /// Calls pass, more and more.
    Ramp,
}

/// Lets one attempt pass. It goes back with [`Breaker::settle`], whatever became of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Counts the changes of state: an answer to an earlier state changes nothing.
    era: u64,
    /// Which probe it is, if it is one.
    probe: Option<u64>,
}

impl Pass {
    /// Whether the attempt looks whether the service is back.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Breaker {
    options: Options,
    now: Phase,
    era: u64,
    /// How often in a row it opened.
    opened: u32,
    window: Window,
}

#[derive(Debug, Clone)]
enum Phase {
    Closed,
    Open { until: Instant },
    Probing { next: u64, good: u32, under_way: Vec<(u64, Instant)> },
    Ramp { since: Instant },
}

impl Breaker {
    /// A closed one. Values out of bounds count as the nearest bound.
    #[must_use]
    pub fn new(options: Options, now: Instant) -> Self {
        let window = options.window.clamp(Duration::from_secs(1), Duration::from_secs(600));
        let open = options.open.max(Duration::from_millis(10));
        let options = Options {
            window,
            open,
            calls_min: options.calls_min.max(1),
            failures_permille: options.failures_permille.clamp(1, 1000),
            open_max: options.open_max.max(open),
            probes: options.probes.clamp(1, 100),
            ..options
        };
        Self { options, now: Phase::Closed, era: 0, opened: 0, window: Window::new(window, now) }
    }

    /// What it does now.
    #[must_use]
    pub fn state(&self) -> State {
        match self.now {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::Probing { .. } => State::Probing,
            Phase::Ramp { .. } => State::Ramp,
        }
    }

    /// Whether the next attempt that may begin is a probe.
    pub fn is_probing(&mut self, now: Instant) -> bool {
        self.turn(now);
        matches!(self.now, Phase::Probing { .. })
    }

    /// Whether more may pass than probes.
    pub fn passes_all(&mut self, now: Instant) -> bool {
        self.turn(now);
        matches!(self.now, Phase::Closed | Phase::Ramp { .. })
    }

    /// Share of the limit that may be used, in thousandths: 1,000, but while the use grows again.
    #[must_use]
    pub fn usable_permille(&self, now: Instant) -> u16 {
        let Phase::Ramp { since } = self.now else { return 1000 };
        let passed = now.saturating_duration_since(since).as_millis();
        let grown =
            u128::from(1000 - RAMP_FROM_PERMILLE) * passed / self.options.ramp.as_millis().max(1);
        u16::try_from(grown)
            .map_or(1000, |grown| (RAMP_FROM_PERMILLE.saturating_add(grown)).min(1000))
    }

    /// Whether an attempt may begin.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn ready(&mut self, now: Instant) -> Result<(), Duration> {
        self.turn(now);
        match &self.now {
            Phase::Closed | Phase::Ramp { .. } => Ok(()),
            Phase::Open { until } => Err(until.saturating_duration_since(now)),
            Phase::Probing { good, under_way, .. } => {
                let asked =
                    u32::try_from(under_way.len()).unwrap_or(u32::MAX).saturating_add(*good);
                let is_free = asked < self.options.probes;
                // Another may begin when one is abandoned; when the last one is late, it counts as failed.
                let first_late = under_way.iter().map(|(_, late)| *late).min().unwrap_or(now);
                if is_free { Ok(()) } else { Err(first_late.saturating_duration_since(now)) }
            }
        }
    }

    /// Lets an attempt pass. The caller asked [`Breaker::ready`] before, at the same `now`.
    #[must_use = "a pass goes back when its attempt ends"]
    pub fn pass(&mut self, now: Instant) -> Pass {
        let mut probe = None;
        if let Phase::Probing { next, under_way, .. } = &mut self.now {
            probe = Some(*next);
            under_way.push((*next, now + self.options.probe_timeout));
            *next += 1;
        }
        Pass { era: self.era, probe }
    }

    /// The attempt of `pass` has ended.
    pub fn settle(&mut self, pass: Pass, outcome: Outcome, now: Instant) {
        self.turn(now);
        if pass.era != self.era {
            return;
        }
        match &mut self.now {
            Phase::Open { .. } => {}
            Phase::Closed | Phase::Ramp { .. } => {
                let Some(is_up) = outcome.is_up() else { return };
                self.window.count(is_up, now);
                if self.window.is_bad(&self.options) {
                    self.open(now);
                }
            }
            Phase::Probing { good, under_way, .. } => {
                let before = under_way.len();
                under_way.retain(|(probe, _)| Some(*probe) != pass.probe);
                if under_way.len() == before {
                    return;
                }
                match outcome.is_up() {
                    None => {}
                    Some(false) => self.open(now),
                    Some(true) => {
                        *good += 1;
                        if *good >= self.options.probes {
                            self.enter(Phase::Ramp { since: now }, now);
                        }
                    }
                }
            }
        }
    }

    /// Changes the state where time alone does.
    fn turn(&mut self, now: Instant) {
        match &self.now {
            Phase::Open { until } if *until <= now => {
                self.enter(Phase::Probing { next: 0, good: 0, under_way: Vec::new() }, now);
            }
            Phase::Probing { under_way, .. } if under_way.iter().any(|(_, late)| *late <= now) => {
                self.open(now);
            }
            Phase::Ramp { .. } if self.usable_permille(now) >= 1000 => {
                // The era stays: attempts of the ramp count in the closed state, too.
                self.now = Phase::Closed;
                self.opened = 0;
            }
            _ => {}
        }
    }

    fn open(&mut self, now: Instant) {
        let doubled = self.options.open.saturating_mul(1 << self.opened.min(16));
        self.opened = self.opened.saturating_add(1);
        self.enter(Phase::Open { until: now + doubled.min(self.options.open_max) }, now);
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.now = phase;
        self.era += 1;
        self.window = Window::new(self.options.window, now);
    }
}

/// Calls and failures of the last while, in parts that are dropped one by one.
#[derive(Debug, Clone)]
struct Window {
    part: Duration,
    parts: [(u32, u32); PARTS as usize],
    at: usize,
    until: Instant,
}

impl Window {
    fn new(window: Duration, now: Instant) -> Self {
        let part = window / PARTS;
        Self { part, parts: [(0, 0); PARTS as usize], at: 0, until: now + part }
    }

    fn count(&mut self, is_up: bool, now: Instant) {
        let mut dropped = 0;
        while self.until <= now {
            self.at = (self.at + 1) % self.parts.len();
            self.parts[self.at] = (0, 0);
            self.until += self.part;
            dropped += 1;
            if dropped > PARTS {
                self.until = now + self.part;
            }
        }
        let (calls, failures) = &mut self.parts[self.at];
        *calls = calls.saturating_add(1);
        *failures = failures.saturating_add(u32::from(!is_up));
    }

    fn is_bad(&self, options: &Options) -> bool {
        let calls: u64 = self.parts.iter().map(|(calls, _)| u64::from(*calls)).sum();
        let failures: u64 = self.parts.iter().map(|(_, failures)| u64::from(*failures)).sum();
        calls >= u64::from(options.calls_min)
            && failures * 1000 >= calls * u64::from(options.failures_permille)
    }
}
