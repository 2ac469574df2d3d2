//! What a replay of dead letters that was cut short left behind: each letter is to be there once.
//!
//! Letters and events lie in two logs, which nothing writes in one step. So a note in the log of letters comes
//! first: which letters, and from which number on their events will be. After a crash the next start looks
//! there, and drops the letters whose events it finds.

use std::collections::HashMap;

use buffer::Error;
use futures_executor::block_on;
use journal::Log;
use model::Event;

use crate::dead::{Begun, Dead};
use crate::event::event_of;
use crate::failure::error_of;

/// The number from which on events are looked for that are nowhere.
pub(crate) const NOWHERE: u64 = u64::MAX;

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
