//! Dead letters: a queue of its own. SQS shows nothing without handing it out, so looking through them
//! hides them for a moment, and then gives them back.
//!
//! A letter is told apart by the message it came from: a burial whose answer was lost, or whose process
//! died before it deleted the message, may be sent twice and is one letter all the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use buffer::{DeadLetter, DeadLetters, Error};
use model::Event;
use model::clock::{Clock, EpochMs, System};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::SqsBuffer;
use crate::api::{BATCH_MAX, Receive, Told};
use crate::client::Failure;
use crate::message::{self, LETTER, Message};
use crate::shared::Shared;

/// For how long letters are hidden while they are looked through, in seconds: a process that dies
/// meanwhile keeps them from others for that long.
const LOOK_SECONDS: u64 = 60;
/// How often nothing may come before the walk ends, where SQS counts more than came.
const EMPTY_MAX: u32 = 2;
/// The longest reason, in characters.
const REASON_MAX: usize = 4_096;

/// What is kept of a letter besides its event.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    seq: u64,
    reason: String,
    buried_at_ms: EpochMs,
    accepted_at_ms: EpochMs,
    attempts: u32,
    /// The message it came from.
    origin: String,
}

/// A letter, and the handles of all that was received of it.
struct Found {
    letter: DeadLetter,
    handles: Vec<String>,
}

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

    /// All letters, by number; up to `max` with a number of at least `from` are kept with their events.
    /// Whatever is not in `keep` afterwards is given back by the caller.
    async fn walk(&self, from: u64, max: usize) -> Result<Walk, Error> {
        let mut walk = Walk::default();
        let walked = self.walk_into(&mut walk, from, max).await;
        if let Err(error) = walked {
            self.leave(walk).await;
            return Err(error);
        }
        Ok(walk)
    }

    async fn walk_into(&self, walk: &mut Walk, from: u64, max: usize) -> Result<(), Error> {
        let about = self.client.about(&self.dead).await.map_err(Failure::error)?;
        let expected = about.visible + about.delayed + about.in_flight;
        let mut empty = 0;
        loop {
            let enough = walk.messages >= expected;
            let wait = if enough { 0 } else { 1 };
            let how = Receive { max: BATCH_MAX, hide: LOOK_SECONDS, wait, attempt: None };
            let messages = self.client.receive(&self.dead, how).await.map_err(Failure::error)?;
            if messages.is_empty() {
                empty += 1;
                if enough || empty == EMPTY_MAX {
                    break;
                }
                continue;
            }
            for message in messages {
                walk.add(message, &self.options, from, max);
            }
        }
        if walk.messages < expected {
            let missing = expected - walk.messages;
            tracing::warn!(
                missing,
                "somebody else looks at dead letters just now; they are left out"
            );
        }
        Ok(())
    }

    /// Gives back all that a walk received.
    async fn leave(&self, walk: Walk) {
        let kept = walk.found.into_values().flat_map(|found| found.handles);
        let handles: Vec<_> = kept.chain(walk.others).map(|handle| (handle, 0)).collect();
        let told = self.client.hide(&self.dead, &handles).await;
        if told.iter().any(|told| matches!(told, Told::Failed(_))) {
            tracing::warn!("some dead letters stay hidden for up to {LOOK_SECONDS} s");
        }
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

    /// The letters of these numbers are done with by `with`, and then deleted if that went well.
    async fn remove(&self, seqs: &[u64], offer: bool) -> Result<usize, Error> {
        if seqs.is_empty() {
            return Ok(0);
        }
        let _one = self.walking.lock().await;
        let seqs: BTreeSet<u64> = seqs.iter().copied().collect();
        let mut walk = self.walk(0, usize::MAX).await?;
        let mut named = BTreeMap::new();
        for seq in seqs {
            named.extend(walk.found.remove(&seq).map(|found| (seq, found)));
        }
        let mut offered = Ok(());
        if offer {
            let events: Vec<Event> = named.values().map(|f| f.letter.event.clone()).collect();
            offered = self.offer_now(&events).await;
        }
        if let Err(error) = offered {
            walk.found.append(&mut named);
            self.leave(walk).await;
            return Err(error);
        }
        let count = named.len();
        let handles: Vec<String> = named.into_values().flat_map(|found| found.handles).collect();
        let told = self.client.delete(&self.dead, &handles).await;
        self.leave(walk).await;
        match told.into_iter().find(|told| *told != Told::Done) {
            None => Ok(count),
            Some(Told::Failed(why)) => Err(Error::Unavailable(why)),
            Some(_) => Err(Error::Unavailable("sqs: dead letters were shown to others".to_owned())),
        }
    }
}

/// What was received on a walk.
#[derive(Default)]
struct Walk {
    messages: u64,
    found: BTreeMap<u64, Found>,
    numbers: HashMap<String, u64>,
    /// Handles of letters that are not asked for.
    others: Vec<String>,
}

impl Walk {
    fn add(&mut self, message: Message, options: &crate::Options, from: u64, max: usize) {
        self.messages += 1;
        let note = message.attribute(LETTER).and_then(|note| serde_json::from_str(note).ok());
        let event = message.read(&options.id_field, &options.key_field).event;
        let note = note.unwrap_or_else(|| unknown(&message));
        let handle = message.receipt_handle;
        // Of one sent twice the first number counts, whichever comes first.
        let number = self.numbers.get(&note.origin).copied();
        let earlier = number.and_then(|seq| self.found.remove(&seq));
        let seq = number.map_or(note.seq, |other| other.min(note.seq));
        self.numbers.insert(note.origin.clone(), seq);
        let mut handles = vec![handle];
        let mut letter = DeadLetter {
            seq,
            reason: note.reason,
            buried_at_ms: note.buried_at_ms,
            accepted_at_ms: note.accepted_at_ms,
            attempts: note.attempts,
            event,
        };
        if let Some(earlier) = earlier {
            handles.extend(earlier.handles);
            if earlier.letter.seq == seq {
                letter = earlier.letter;
            }
        }
        if seq < from {
            self.others.extend(handles);
            return;
        }
        self.found.insert(seq, Found { letter, handles });
        if self.found.len() > max
            && let Some((_, beyond)) = self.found.pop_last()
        {
            self.others.extend(beyond.handles);
        }
    }
}

/// What is known of a letter that this program did not send.
fn unknown(message: &Message) -> Note {
    let (sent_at_ms, origin) = (message.sent_at_ms(), message.message_id.clone());
    let digest = message::digest(origin.as_bytes());
    let low = u64::from_str_radix(&digest[..5], 16).unwrap_or(0);
    Note {
        seq: (sent_at_ms.unsigned_abs() << 22) | low,
        reason: "moved here by SQS itself (a redrive policy), or by somebody else".to_owned(),
        buried_at_ms: sent_at_ms,
        accepted_at_ms: sent_at_ms,
        // Looking counts as well.
        attempts: 0,
        origin,
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
        self.shared.remove(seqs, true).await
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        self.shared.remove(seqs, false).await
    }
}
