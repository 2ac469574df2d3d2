//! Replaying dead letters, so that a crash leaves each of them once.
//!
//! Letters and events lie in two logs, which nothing writes in one step. So a note in the log of letters comes
//! first: which letters, and from which number on their events will be. After a crash the next start looks
//! there, and drops the letters whose events it finds.

use std::collections::HashMap;

use buffer::{Buffer as _, Error};
use futures_executor::block_on;
use journal::Log;
use model::Event;

use crate::dead::{Begun, Dead};
use crate::journal_buffer::{JournalBuffer, error_of, event_of};

/// Letters offered again at once.
const BATCH: usize = 10;
/// The number from which on events are looked for that are nowhere.
pub(crate) const NOWHERE: u64 = u64::MAX;

impl JournalBuffer {
    pub(crate) async fn replay_now(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut seqs = seqs.to_vec();
        seqs.sort_unstable();
        seqs.dedup();
        let (dead, mut replayed) = (&self.inner.dead, 0);
        for some in seqs.chunks(BATCH) {
            let letters = dead.get(some)?;
            if letters.is_empty() {
                continue;
            }
            let known: Vec<u64> = letters.iter().map(|letter| letter.seq).collect();
            let events: Vec<Event> = letters.into_iter().map(|letter| letter.event).collect();
            let now_ms = self.inner.clock.now_ms();
            dead.begin(&known, self.inner.log.usage().next_seq, now_ms).await?;
            let offered = self.offer(&events).await;
            if let Err(Error::Full { .. } | Error::TooMany { .. } | Error::Closed) = &offered {
                // Nothing is held. Without this note, a later start looks for events that are nowhere.
                let noted = dead.begin(&known, NOWHERE, now_ms).await;
                offered.and(noted)?;
            } else {
                offered?;
            }
            replayed += dead.forget(&known, now_ms).await?;
        }
        self.inner.trim_dead().await?;
        Ok(replayed)
    }
}

/// Drops the letters of a replay that was cut short whose events are in the log.
///
/// # Errors
/// If the logs can't be read, or it can't be written down.
pub(crate) fn finish(log: &Log, dead: &Dead, begun: &[Begun], now_ms: i64) -> Result<(), Error> {
    let Some(from) = begun.iter().map(|one| one.from).min().filter(|from| *from < NOWHERE) else {
        return Ok(());
    };
    let mut wanted: HashMap<Event, Vec<Begun>> = HashMap::new();
    for one in begun {
        for letter in dead.get(&[one.letter])? {
            wanted.entry(letter.event).or_default().push(*one);
        }
    }
    let (mut reader, mut found) = (log.reader(from), Vec::new());
    while let Some(record) = reader.take().map_err(|e| error_of(&e))? {
        let seq = record.seq;
        let letters = event_of(record).and_then(|event| wanted.get_mut(&event));
        // One event for one letter.
        let place = |letters: &&mut Vec<Begun>| letters.iter().position(|one| one.from <= seq);
        if let Some(letters) = letters
            && let Some(place) = place(&letters)
        {
            found.push(letters.swap_remove(place).letter);
        }
    }
    if !found.is_empty() {
        // The log's own thread completes it.
        let dropped = block_on(dead.forget(&found, now_ms))?;
        tracing::warn!(
            dropped,
            "a replay of dead letters was cut short; those offered by it are dropped"
        );
    }
    Ok(())
}
