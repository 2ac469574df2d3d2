//! What the leader of a move waits for, as it is shown meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use model::units::grouped;
use runtime::moving::Told;

use crate::progress::{Progress, Unit};

/// What the command waits for. Clones share it.
#[derive(Clone)]
pub struct Waiting {
    progress: Arc<Mutex<Option<Progress>>>,
    note: fn(&str),
}

impl Waiting {
    /// Waits for nothing yet. Lines go to `note`.
    #[must_use]
    pub fn new(note: fn(&str)) -> Self {
        Self { progress: Arc::default(), note }
    }

    /// Shows what a leader has to say.
    pub fn tell(&self, told: Told) {
        match told {
            Told::Step { share, phase, processes, left, most } => {
                self.at(most - left, most, || {
                    format!("to {share} %: {}, {processes} processes", phase.name())
                });
            }
            Told::Staying { passed, pause, pending } => {
                let left = pause.saturating_sub(passed).as_secs();
                let [old, new] = pending.map(grouped);
                self.at(passed.as_secs(), pause.as_secs(), || {
                    format!(
                        "{left} s until the next share; held: {old} in the old buffer, {new} in the new"
                    )
                });
            }
            Told::Draining { left, most } => {
                self.at(most - left, most, || "draining the buffer that was left".to_owned());
            }
            Told::NoneJoined => {
                (self.note)("No running process has joined; waiting for one to start.");
            }
            Told::Silent { process, silent } => {
                let s = silent.as_secs();
                (self.note)(&format!(
                    "{process} was not heard of for {s} s. If it has ended, run this again \
                     with --forget {process}."
                ));
            }
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(progress) = self.progress.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            progress.end();
        }
    }

    fn at(&self, done: u64, total: u64, message: impl FnOnce() -> String) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress
            .get_or_insert_with(|| Progress::new(Unit::Events, self.note))
            .at(done, total, message);
    }
}
