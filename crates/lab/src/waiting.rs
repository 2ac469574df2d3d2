//! What the leader of a move waits for, as it is shown meanwhile.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::units::grouped;
use runtime::moving::{Leader, Told, is_through};

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

    /// Goes to one share of the keys after the other, in percent, and stays for `pause` at each but the last. Then
    /// waits until the buffer that nothing goes to any more is empty, if all keys go to one. Returns whether they do.
    /// `opened` hears of each share: how many processes go by it, and how long that took.
    ///
    /// # Errors
    /// As [`Leader::go_to`], [`Leader::stay`] and [`Leader::drain`], or the first of `opened`.
    pub async fn lead(
        &self,
        leader: &Leader,
        shares: &[u8],
        pause: Duration,
        opened: &mut (dyn FnMut(u8, usize, Duration) -> io::Result<()> + Send),
    ) -> anyhow::Result<bool> {
        let last = shares.last().copied();
        for share in shares.iter().copied() {
            let began = Instant::now();
            let gone = leader.go_to(share).await;
            self.end();
            opened(share, gone?, began.elapsed())?;
            if Some(share) != last {
                let stayed = leader.stay(pause).await;
                self.end();
                stayed?;
            }
        }
        let is_through = last.is_some_and(is_through);
        if is_through {
            let drained = leader.drain().await;
            self.end();
            drained?;
        }
        Ok(is_through)
    }

    /// Takes the bar away.
    fn end(&self) {
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
