//! What opening a journal found, and repairing one.

use std::sync::Arc;

use buffer::Error;
use journal::fs::Fs;
use journal::repair::{Report, repair as repair_log};
use journal::{Log, encryption};

use crate::Options;
use crate::dead::Dead;
use crate::erased::refuse_erased;
use crate::failure::error_of;

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// In the log of events.
    pub events: journal::Recovery,
    /// In the log of dead letters. `missing` counts letters, and notes that letters were dropped.
    pub letters: journal::Recovery,
}

impl Recovery {
    /// What was found, one sentence each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let Self { events, letters } = self;
        let mut lines = Vec::new();
        if events.records > 0 {
            lines.push(format!(
                "Recovered {} events that were accepted and not settled.",
                events.records
            ));
        }
        if events.ahead > 0 {
            let (ahead, next) = (events.ahead, events.checkpoint.next_seq);
            lines.push(format!(
                "The events of {ahead} dead letters lie past the end of the journal: dead/ is newer than \
                 the segments. New events are numbered from {next}."
            ));
        }
        if events.torn_bytes > 0 {
            let held = match events.doubtful {
                0 => "how many accepted events it held is unknown".to_owned(),
                n => format!("the {n} events that are missing there may have been accepted"),
            };
            lines.push(format!(
                "Cut off {} bytes at the end of the journal that hold no event; a copy is in quarantine/. \
                 It is an unfinished write, or damage; {held}.",
                events.torn_bytes
            ));
        }
        if events.damaged_bytes > 0 || events.missing > 0 {
            lines.push(format!(
                "DAMAGE: {} bytes are quarantined and {}; see `forebay buffer verify`.",
                events.damaged_bytes,
                gone(events.missing, events.end_known)
            ));
        }
        if letters.torn_bytes > 0 {
            lines.push(format!(
                "Cut off {} bytes at the end of dead/ that hold no letter; their events are settled again.",
                letters.torn_bytes
            ));
        }
        if letters.damaged_bytes > 0 || letters.missing > 0 {
            lines.push(format!(
                "DAMAGE in dead/: {} bytes are quarantined and {} dead letters, or notes that letters \
                 were dropped, are gone; see `forebay buffer verify`.",
                letters.damaged_bytes, letters.missing
            ));
        }
        lines
    }
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
    refuse_erased(&**fs, &options.dir)?;
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

/// How many accepted events are gone: exactly, where the end of the journal is known.
pub(crate) fn gone(missing: u64, end_known: bool) -> String {
    if end_known {
        return format!("{missing} accepted events are gone");
    }
    format!(
        "at least {missing} accepted events are gone (the last process did not close the journal: \
         events accepted after its last checkpoint may be gone, too)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(events: journal::Recovery, letters: journal::Recovery) -> String {
        Recovery { events, letters }.sentences().join("\n")
    }

    #[test]
    fn a_loss_is_exact_only_where_the_end_is_known() {
        let found = journal::Recovery { missing: 3, ..Default::default() };
        let known = journal::Recovery { end_known: true, ..found.clone() };
        assert!(said(found, Default::default()).contains("at least 3 accepted events"));
        assert!(said(known, Default::default()).contains("and 3 accepted events"));
    }

    #[test]
    fn bytes_cut_off_are_never_called_unaccepted() {
        let found = journal::Recovery { torn_bytes: 9, ..Default::default() };
        let said_of_none = said(found.clone(), Default::default());
        assert!(said_of_none.contains("how many accepted events it held is unknown"));
        let two = journal::Recovery { doubtful: 2, ..found };
        assert!(said(two, Default::default()).contains("the 2 events that are missing there may"));
    }

    #[test]
    fn damage_among_the_dead_letters_is_reported_by_its_folder() {
        let found = journal::Recovery { missing: 1, damaged_bytes: 70, ..Default::default() };
        assert!(said(Default::default(), found).contains("DAMAGE in dead/: 70 bytes"));
    }
}
