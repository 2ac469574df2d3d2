//! Payments at their event times.

use std::time::Duration;

use model::Event;
use model::clock::EpochMs;

use super::event_time::EventTime;
use super::kind::Kind;
use super::stream::{Error, Generator, Options};

/// Payments at their event times.
pub struct Source {
    generator: Generator,
    time: EventTime,
}

impl Source {
    /// Payments whose event time is calm at `tps` events a second, and reaches `now_ms` when `duration` is over.
    ///
    /// # Errors
    /// If an option is out of bounds.
    pub fn new(
        options: &Options,
        now_ms: EpochMs,
        duration: Duration,
        tps: f64,
    ) -> Result<Self, Error> {
        let time = EventTime::calm(now_ms, duration, tps, options.users);
        Ok(Self { generator: Generator::new(options)?, time })
    }

    /// The same payments, with the event time `start_ms` of the first.
    #[must_use]
    pub fn starting(mut self, start_ms: EpochMs) -> Self {
        self.time.start_ms = start_ms;
        self
    }

    /// The next payment, due so long after the beginning, and its label.
    pub fn event(&mut self, due: Duration) -> (Event, Option<Kind>) {
        self.generator.event(self.time.at(due))
    }
}
