//! Dead letters: a queue of its own.
//!
//! A letter is told apart by the message it came from: a burial whose answer was lost, or whose process
//! died before it deleted the message, may be sent twice and is one letter all the same.
//!
//! SQS cannot offer an event and delete its letter in one step. A replay takes ten letters at a time: it
//! offers them, then deletes them. Before the first, it sends a note to the same queue that names all of them,
//! and removes it at the end. After a crash at most ten letters are events as well, which the store's dedupe
//! absorbs; the note is still there, and the next walk says so of its letters.

use std::collections::BTreeSet;

use async_trait::async_trait;
use buffer::{DeadLetter, DeadLetters, Error};
use model::Event;
use model::clock::{Clock, EpochMs, System};
use serde_json::Value;

use crate::SqsBuffer;
use crate::api::{BATCH_MAX, Told};
use crate::letter::Note;
use crate::message::{self, LETTER};
use crate::shared::Shared;
use crate::walk::{Found, Walk};

/// Letters replayed under one note, at most: their names are far below the longest message.
const REPLAYED_AT_ONCE: usize = 1_000;
/// The longest reason, in characters.
const REASON_MAX: usize = 4_096;

impl Shared {
    /// The entry that sends a letter.
    pub(crate) fn letter(
        &self,
        origin: &str,
        event: &Event,
        accepted_at_ms: EpochMs,
        attempts: u32,
        reason: &str,
    ) -> (Value, usize) {
        let buried_at_ms = System.now_ms().max(accepted_at_ms);
        let fit = |c: char| if message::is_taken(c) { c } else { '\u{fffd}' };
        let note = Note {
            seq: self.state().letter(buried_at_ms),
            reason: reason.chars().take(REASON_MAX).map(fit).collect(),
            buried_at_ms,
            accepted_at_ms,
            attempts,
            origin: origin.to_owned(),
        };
        let note = serde_json::to_string(&note).expect("a note is plain data");
        // Each letter is a group of its own, so that none hides another.
        let fifo = self.options.fifo().then_some((origin, origin));
        let (mut entry, bytes) = message::entry(event, fifo);
        let weight = bytes + note.len();
        entry["MessageAttributes"][LETTER] =
            serde_json::json!({ "DataType": "String", "StringValue": note });
        (entry, weight)
    }

    /// Sends letters, durably when it returns.
    pub(crate) async fn send_letters(&self, letters: Vec<(Value, usize)>) -> Result<(), Error> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (entry, weight) in letters {
            let heavy = bytes + weight > self.options.message_bytes_max;
            if batch.len() == BATCH_MAX || (heavy && !batch.is_empty()) {
                self.send(&self.dead, std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            batch.push(entry);
            bytes += weight;
        }
        if batch.is_empty() { Ok(()) } else { self.send(&self.dead, batch).await }
    }

    pub(crate) async fn letters(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let _one = self.walking.lock().await;
        let walk = self.walk(from, max).await?;
        let letters = walk.found.values().map(|found| found.letter.clone()).collect();
        self.leave(walk).await;
        Ok(letters)
    }

    /// Deletes letters, after offering their events if `offer` says so. Returns how many.
    async fn remove(&self, seqs: &[u64], offer: bool) -> Result<usize, Error> {
        let _one = self.walking.lock().await;
        let mut walk = self.walk(0, usize::MAX).await?;
        let seqs: BTreeSet<u64> = seqs.iter().copied().collect();
        let named = seqs.iter().filter_map(|seq| walk.found.remove(seq)).collect();
        let removed = match offer {
            true => self.replay_these(&mut walk, named).await,
            false => self.delete_letters(&mut walk, &named).await.map(|()| named.len()),
        };
        self.leave(walk).await;
        removed
    }

    /// Offers and deletes letters, ten at a time.
    async fn replay_these(&self, walk: &mut Walk, named: Vec<Found>) -> Result<usize, Error> {
        if named.is_empty() {
            return Ok(0);
        }
        self.ensure_open().await?;
        self.take_room(named.len()).await?;
        let origins: BTreeSet<String> = named.iter().map(|found| found.origin.clone()).collect();
        let count = named.len() as u64;
        let replayed = match self.send(&self.dead, vec![self.begun(&origins)]).await {
            Ok(()) => self.replay_tens(walk, named).await,
            Err(error) => Err(error),
        };
        self.room().answered(count);
        self.changed.notify_waiters();
        // After a failure a letter may be an event, too. The note says so until the letters are gone.
        if matches!(replayed, Ok(_) | Err(Error::Closed)) {
            self.remove_note(&origins).await;
        }
        replayed
    }

    async fn replay_tens(&self, walk: &mut Walk, named: Vec<Found>) -> Result<usize, Error> {
        let (mut named, mut replayed) = (named.into_iter().peekable(), 0);
        while named.peek().is_some() {
            if self.is_closed() {
                return Err(Error::Closed);
            }
            let mut some: Vec<Found> = named.by_ref().take(BATCH_MAX).collect();
            self.keep_hidden(walk, &mut some).await;
            let events: Vec<Event> = some.iter().map(|found| found.letter.event.clone()).collect();
            self.send_events(&events).await?;
            self.delete_letters(walk, &some).await?;
            replayed += some.len();
        }
        Ok(replayed)
    }

    async fn delete_letters(&self, walk: &mut Walk, letters: &[Found]) -> Result<(), Error> {
        let told = self.client.delete(&self.dead, &walk.take(letters)).await;
        match told.into_iter().find(|told| *told != Told::Done) {
            None => Ok(()),
            Some(Told::Failed(why)) => Err(Error::Unavailable(why)),
            Some(_) => Err(Error::Unavailable(
                "cannot delete dead letters: SQS has shown them to another process; run the command again"
                    .to_owned(),
            )),
        }
    }

    /// The message that says that a replay of these letters has begun.
    fn begun(&self, origins: &BTreeSet<String>) -> Value {
        let once = crate::client::hex(&rand::random::<u128>().to_be_bytes());
        message::begun(origins, self.options.fifo().then_some(once.as_str()))
    }
}

#[async_trait]
impl DeadLetters for SqsBuffer {
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.shared.letters(from, max).await
    }

    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        let mut replayed = 0;
        let events_max = self.shared.options.events_max;
        for some in seqs.chunks(REPLAYED_AT_ONCE.min(events_max).max(1)) {
            replayed += self.shared.remove(some, true).await?;
        }
        Ok(replayed)
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        if seqs.is_empty() {
            return Ok(0);
        }
        self.shared.remove(seqs, false).await
    }
}
