//! What a run looks like while it goes on: a picture on a terminal, a line a second elsewhere.
//!
//! [`Picture`] is plain data made of [`Sample`]s; drawing it needs nothing else, so it is tested
//! without a terminal.
//!
//! What it deliberately does not do: measure. Whoever runs something takes the samples.

mod draw;
mod held;
mod picture;
mod plain;
mod screen;

use std::io;
use std::time::Duration;

pub use held::LogLines;
pub use picture::{Phase, Picture, Sample};

use screen::Screen;

/// How often a picture on a terminal is drawn anew.
const FRAME: Duration = Duration::from_millis(250);
/// How often a plain line is written.
const LINE: Duration = Duration::from_secs(1);

/// Where a picture is shown. Dropping it gives the terminal back.
pub enum View {
    /// The whole terminal.
    Screen(Screen),
    /// Lines, written by this.
    Plain(fn(&str) -> io::Result<()>),
}

impl View {
    /// The whole terminal if standard output is one and `plain` is not asked for; or else what `line` writes.
    ///
    /// # Errors
    /// If the terminal can't be set up.
    pub fn open(plain: bool, line: fn(&str) -> io::Result<()>) -> io::Result<Self> {
        if plain || !io::IsTerminal::is_terminal(&io::stdout()) {
            return Ok(Self::Plain(line));
        }
        Screen::open().map(Self::Screen)
    }

    /// How often to show the picture.
    #[must_use]
    pub fn every(&self) -> Duration {
        match self {
            Self::Screen(_) => FRAME,
            Self::Plain(_) => LINE,
        }
    }

    /// Shows the picture as it is now.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn show(&mut self, picture: &Picture) -> io::Result<()> {
        match self {
            Self::Screen(screen) => screen.draw(picture),
            Self::Plain(line) => line(&plain::line(picture)),
        }
    }

    /// Whether the person at the keyboard asked to stop since this was last called.
    pub fn asked_to_stop(&mut self) -> bool {
        match self {
            Self::Screen(screen) => screen.asked_to_stop(),
            Self::Plain(_) => false,
        }
    }
}
