//! How far long work is: a bar on a terminal, a line now and then elsewhere. The bar is on standard error, so
//! that it never mixes with the result; so should lines be.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use model::units::{bytes, grouped};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Events, or whatever is written as a plain number.
    Events,
}

/// A bar, or its plain lines.
pub struct Progress {
    bar: ProgressBar,
    unit: Unit,
    said: Instant,
    note: fn(&str),
}

impl Progress {
    /// Nothing done yet. Plain lines go to `note`.
    #[must_use]
    pub fn new(unit: Unit, note: fn(&str)) -> Self {
        let template = match unit {
            Unit::Bytes => "{bar:30} {bytes} of {total_bytes}  {eta} left  {msg}",
            Unit::Events => "{bar:30} {human_pos} of {human_len}  {eta} left  {msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the templates are well formed");
        let bar = ProgressBar::new(0).with_style(style);
        Self { bar, unit, said: Instant::now(), note }
    }

    /// `done` of `total`, and what else there is to say.
    pub fn at(&mut self, done: u64, total: u64, message: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            if total > 0 {
                self.bar.set_length(total);
            }
            self.bar.set_position(done);
            self.bar.set_message(message());
        } else if self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let amount = |n| match self.unit {
                Unit::Bytes => bytes(n),
                Unit::Events => grouped(n),
            };
            let is_known = total > 0;
            let (done, total, message) = (amount(done), amount(total), message());
            if is_known {
                (self.note)(&format!("{done} of {total}  {message}"));
            } else {
                (self.note)(&format!("{done}  {message}"));
            }
        }
    }

    /// Takes the bar away.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}
