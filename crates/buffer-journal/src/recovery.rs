//! What opening a journal found, and repairing one.

use std::sync::Arc;

use buffer::Error;
use journal::fs::Fs;
use journal::repair::{Report, repair as repair_log};
use journal::{Log, encryption};

use crate::Options;
use crate::dead::Dead;
use crate::journal_buffer::error_of;

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// In the log of events.
    pub events: journal::Recovery,
    /// In the log of dead letters. `missing` counts letters, and notes that letters were dropped.
    pub letters: journal::Recovery,
}

/// What was mended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// In the log of events.
    pub events: Report,
    /// In the log of dead letters.
    pub letters: Report,
}

impl Repaired {
    /// What opening found.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        Recovery { events: self.events.recovery.clone(), letters: self.letters.recovery.clone() }
    }
}

/// Recovers the journal in `options.dir`, as opening does, and rewrites each damaged segment of events
/// and of dead letters so that it holds only its valid records. What was cut out stays in
/// `quarantine/` beside it. What is missing is not reported again.
///
/// # Errors
/// [`Error::Held`] when another process has it, [`Error::Open`] when a key is missing,
/// [`Error::Unavailable`] when a segment can't be
/// rewritten: the old one then stands.
pub fn repair(fs: &Arc<dyn Fs>, options: &Options) -> Result<Repaired, Error> {
    let keys = options.key.read()?;
    let mend = || {
        let letters = options.dead_log(keys.clone());
        // Before the journal is taken: a wrong key changes nothing.
        encryption::check(&**fs, &letters)?;
        let held = Log::hold(fs.clone(), options.events_log(keys))?;
        let (dead, found) = Dead::open(fs.clone(), letters.clone(), options.dead_max)?;
        drop(dead);
        let mut letters = repair_log(Log::hold(fs.clone(), letters)?, &[])?;
        letters.recovery = found.recovery;
        let events = repair_log(held, &found.buried)?;
        Ok(Repaired { events, letters })
    };
    mend().map_err(|e| error_of(&e))
}
