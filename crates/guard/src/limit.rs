//! How many calls may be under way: a limit that follows what the service can do.
//!
//! Attempts are judged in windows of at least two round trips. A window with many overloads lowers the limit by
//! their share. A window that is slower than the service's own latency lowers it in proportion. A good window
//! raises it by its square root, but only where it was used. Sources: TCP Vegas (Brakmo and Peterson, 1995), the
//! gradient of Netflix' concurrency-limits, and BBR's probe of the round trip (Cardwell et al., 2016).
//!
//! The service's own latency is the least window mean seen. It has to be confirmed every [`CONFIRMED_EVERY`]:
//! else a quarter of the limit is used for one window, and what that window shows is the new value. An
//! average over time would learn the latency of an overload, and the limit would creep up with it.

use std::time::{Duration, Instant};

use crate::Outcome;

/// Share of overloads in a window that lowers the limit, in thousandths: single hung calls do not.
const OVERLOADS_PERMILLE: u32 = 30;
/// Overloads lower the limit by a tenth at least, and by half at most.
const STEP_MIN: f64 = 0.1;
const STEP_MAX: f64 = 0.5;
/// A window so many times slower than the service's own latency still counts as good.
const TOLERANCE: f64 = 1.5;
/// Shorter latencies count as this: below it is noise.
const LATENCY_MIN_S: f64 = 0.001;
/// Of an own latency that differs by so little from the value, the value is confirmed.
const SAME: f64 = 1.1;
/// How long the service's own latency is believed.
const CONFIRMED_EVERY: Duration = Duration::from_secs(30);
/// Attempts that a window needs, or as many as the limit is, if it is lower.
const ATTEMPTS_MIN: u32 = 10;
/// A probe uses one in so many of the limit. A limit that is 1.5 times what the service can do leaves no queue.
const PROBE_PART: f64 = 4.0;
/// Attempts under way at most before the service's own latency is known.
const FIRST_MAX: f64 = 10.0;
/// Round trips that a window lasts: quick refusals end before the good answers of the same moment.
const TRIPS_MIN: f64 = 2.0;
/// A window of fewer attempts ends after so long.
const WINDOW_MAX: Duration = Duration::from_secs(5);

/// The bounds of a [`Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The least, 1 or more.
    pub min: u32,
    /// The most, at least `min` and at most 100,000.
    pub max: u32,
    /// What it starts with, between the two.
    pub start: u32,
}

/// An attempt that counts against the limit until [`Limit::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    at: Instant,
    epoch: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Limit {
    min: f64,
    max: f64,
    limit: f64,
    under_way: u32,
    own: Option<Own>,
    probing: bool,
    /// Counts the changes of the limit. Attempts from before the last one say nothing about it.
    epoch: u64,
    window: Window,
}

/// The latency that the service has when it is not busy, in seconds.
#[derive(Debug, Clone, Copy)]
struct Own {
    mean_s: f64,
    confirmed: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    answered: u32,
    overloaded: u32,
    /// How long the answered ones took together, and the overloaded ones.
    latency_s: f64,
    overloaded_s: f64,
    was_full: bool,
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            answered: 0,
            overloaded: 0,
            latency_s: 0.0,
            overloaded_s: 0.0,
            was_full: false,
        }
    }
}

impl Limit {
    /// A limit of `options.start`. Values out of bounds count as the nearest bound.
    #[must_use]
    pub fn new(options: Options, now: Instant) -> Self {
        let max = options.max.clamp(1, 100_000);
        let min = options.min.clamp(1, max);
        Self {
            min: f64::from(min),
            max: f64::from(max),
            limit: f64::from(options.start.clamp(min, max)),
            under_way: 0,
            own: None,
            probing: false,
            epoch: 0,
            window: Window::new(now),
        }
    }

    /// How many attempts may be under way, 1 or more.
    #[must_use]
    pub fn limit(&self) -> u32 {
        let limit = match self.own {
            None => self.limit.min(FIRST_MAX),
            Some(_) if self.probing => self.limit / PROBE_PART,
            Some(_) => self.limit,
        };
        whole(limit.max(self.min))
    }

    /// How many are.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Whether another attempt may begin, where `permille` thousandths of the limit may be used.
    pub fn ready(&mut self, permille: u16) -> bool {
        let usable =
            (u64::from(self.limit()) * u64::from(permille.min(1000))).div_ceil(1000).max(1);
        let is_free = u64::from(self.under_way) < usable;
        self.window.was_full |= !is_free && permille >= 1000;
        is_free
    }

    /// An attempt begins. The caller asked [`Limit::ready`] before.
    #[must_use = "an attempt counts until it is finished"]
    pub fn start(&mut self, now: Instant) -> Started {
        self.under_way += 1;
        self.window.was_full |= self.under_way >= self.limit();
        Started { at: now, epoch: self.epoch }
    }

    /// An attempt has ended.
    pub fn finish(&mut self, started: Started, outcome: Outcome, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        if started.epoch == self.epoch {
            let took_s = now.saturating_duration_since(started.at).as_secs_f64();
            if outcome.is_overload() {
                self.window.overloaded += 1;
                self.window.overloaded_s += took_s;
            } else if outcome == Outcome::Good {
                self.window.answered += 1;
                self.window.latency_s += took_s;
            }
        }
        self.close(now);
    }

    fn close(&mut self, now: Instant) {
        let Window { began, answered, overloaded, latency_s, overloaded_s, was_full } = self.window;
        let attempts = answered + overloaded;
        let lasted = now.saturating_duration_since(began);
        let mean_s = (latency_s / f64::from(answered.max(1))).max(LATENCY_MIN_S);
        let trip_s = self.own.map_or(mean_s, |own| own.mean_s.max(mean_s));
        let is_long = lasted.as_secs_f64() >= TRIPS_MIN * trip_s;
        let is_whole = attempts >= ATTEMPTS_MIN.min(self.limit()) && is_long;
        if attempts == 0 || !(is_whole || lasted >= WINDOW_MAX) {
            return;
        }
        let before = (self.limit, self.probing);
        if u64::from(overloaded) * 1000 > u64::from(attempts) * u64::from(OVERLOADS_PERMILLE) {
            // A refusal is often quick, and its place soon used for another: counted alone, a few places
            // that are too many look like most of them.
            let share = f64::from(overloaded) / f64::from(attempts);
            let of_time = overloaded_s / (overloaded_s + latency_s).max(LATENCY_MIN_S);
            self.limit *= 1.0 - share.min(of_time).clamp(STEP_MIN, STEP_MAX);
            self.probing = false;
        } else if answered > 0 {
            // The few attempts of a first window say nothing about the limit.
            let was_used = was_full && self.own.is_some();
            let slowness = TOLERANCE * self.own(mean_s, now) / mean_s;
            let grown = if was_used { self.limit.sqrt() } else { 0.0 };
            if !self.probing {
                self.limit = self.limit * slowness.clamp(1.0 - STEP_MAX, 1.0) + grown;
            }
        }
        self.limit = self.limit.clamp(self.min, self.max);
        self.epoch += u64::from(before != (self.limit, self.probing));
        self.window = Window::new(now);
    }

    /// The service's own latency, with what this window shows of it. Begins and ends probes.
    fn own(&mut self, mean_s: f64, now: Instant) -> f64 {
        let probed = std::mem::take(&mut self.probing);
        let Some(own) = self.own.as_mut().filter(|_| !probed) else {
            let before = self.own.replace(Own { mean_s, confirmed: now });
            if before.is_some_and(|before| mean_s * TOLERANCE < before.mean_s) {
                // What was believed was an overload, and this part of the limit may still be one.
                self.limit /= PROBE_PART;
                self.probing = true;
            }
            return mean_s;
        };
        if mean_s <= own.mean_s * SAME {
            own.confirmed = now;
            own.mean_s = own.mean_s.min(mean_s);
        } else if now.saturating_duration_since(own.confirmed) >= CONFIRMED_EVERY {
            self.probing = true;
        }
        own.mean_s
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1 to 100,000")]
fn whole(limit: f64) -> u32 {
    limit.clamp(1.0, 100_000.0) as u32
}
