//! The terminal while it is ours.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::picture::Picture;
use super::{draw, held};

/// The alternate screen in raw mode. Dropping it, or a panic, gives the terminal back as it was.
pub struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        held::hold();
        Ok(Self { terminal })
    }

    pub(super) fn draw(&mut self, picture: &Picture) -> io::Result<()> {
        self.terminal.draw(|frame| draw::picture(picture, frame)).map(drop)
    }

    /// Reads the keys pressed since the last time, without waiting: `q`, Escape or Ctrl-C, which in
    /// raw mode is a key and not a signal.
    pub(super) fn asked_to_stop(&mut self) -> bool {
        let mut asked = false;
        while event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(Event::Key(key)) = event::read() else { continue };
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            asked |= key.kind == KeyEventKind::Press
                && match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => true,
                    KeyCode::Char('c') => control,
                    _ => false,
                };
        }
        asked
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
        held::let_go();
    }
}
