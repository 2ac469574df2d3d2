//! Looking through the dead letters. SQS shows nothing without handing it out: a letter that was seen stays
//! hidden until the walk is over, and is then given back.
//!
//! A process that is killed meanwhile hides letters for as long as SQS was told to hide them. That is a few
//! seconds plus a multiple of the time that the rest of the walk takes at the pace so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use buffer::{DeadLetter, Error};
use tokio::time::Instant;

use crate::api::{BATCH_MAX, Receive, Told};
use crate::client::Failure;
use crate::letter::{CUT_SHORT, Note};
use crate::message::{LETTER, Message, REPLAY};
use crate::shared::Shared;

/// For how long letters are hidden at least, in seconds.
pub(crate) const HIDE_SECONDS_MIN: u64 = 5;
/// For how long letters are hidden at most, in seconds.
const HIDE_SECONDS_MAX: u64 = 3_600;
/// How many times as long as expected a walk, and what follows it, may take.
const SLOWER: u32 = 8;
/// After so many empty receives the walk ends, though SQS counts more letters than were received.
const EMPTY_MAX: u32 = 2;
/// Most receives that look for a note.
const NOTE_RECEIVES_MAX: usize = 20;

/// A letter that was received.
pub(crate) struct Found {
    pub(crate) letter: DeadLetter,
    /// The message it came from.
    pub(crate) origin: String,
    /// The messages that are this letter: a burial may be sent twice.
    messages: Vec<String>,
}

/// A message that says which letters a replay was about to offer, by their origins.
struct Begun {
    message: String,
    origins: BTreeSet<String>,
}

/// What was received on a walk.
pub(crate) struct Walk {
    /// By letter's number.
    pub(crate) found: BTreeMap<u64, Found>,
    /// By message: the handle of its latest receive. What is left here is given back at the end.
    handles: HashMap<String, String>,
    /// By origin, of all letters, also those that were not asked for.
    numbers: HashMap<String, u64>,
    begun: Vec<Begun>,
    /// How many messages SQS counted.
    expected: usize,
    started: Instant,
    /// Requests so far.
    requests: u32,
}

impl Walk {
    fn new() -> Self {
        Self {
            found: BTreeMap::new(),
            handles: HashMap::new(),
            numbers: HashMap::new(),
            begun: Vec::new(),
            expected: 0,
            started: Instant::now(),
            requests: 0,
        }
    }

    fn is_complete(&self) -> bool {
        self.handles.len() >= self.expected
    }

    /// For how long to hide what comes next, in seconds.
    fn hide_seconds(&self) -> u64 {
        let left = self.expected.saturating_sub(self.handles.len());
        hide_seconds(left, self.started.elapsed() / self.requests.max(1))
    }

    fn add(&mut self, message: Message, options: &crate::Options, from: u64, max: usize) {
        let id = message.message_id.clone();
        let again = self.handles.insert(id.clone(), message.receipt_handle.clone());
        if again.is_some() {
            return;
        }
        if let Some(origins) = message.attribute(REPLAY).map(|_| message.origins()) {
            self.begun.push(Begun { message: id, origins });
            return;
        }
        let note = message.attribute(LETTER).and_then(|note| serde_json::from_str(note).ok());
        let event = message.read(&options.fields).event;
        let note: Note = note.unwrap_or_else(|| Note::unknown(&message));
        // Of one sent twice the first number counts, whichever comes first.
        let number = self.numbers.get(&note.origin).copied();
        let earlier = number.and_then(|seq| self.found.remove(&seq));
        let seq = number.map_or(note.seq, |other| other.min(note.seq));
        self.numbers.insert(note.origin.clone(), seq);
        let (mut messages, origin) = (vec![id], note.origin.clone());
        let mut letter = note.letter(seq, event);
        if let Some(earlier) = earlier {
            messages.extend(earlier.messages);
            if earlier.letter.seq == seq {
                letter = earlier.letter;
            }
        }
        if seq >= from {
            self.found.insert(seq, Found { letter, origin, messages });
        }
        if self.found.len() > max {
            self.found.pop_last();
        }
    }

    /// Says of each letter of a replay that was cut short that its event may be in the buffer again.
    fn mark_begun(&mut self) {
        let begun: BTreeSet<&String> = self.begun.iter().flat_map(|one| &one.origins).collect();
        for found in self.found.values_mut().filter(|found| begun.contains(&found.origin)) {
            found.letter.reason.push_str(CUT_SHORT);
        }
    }

    /// The handles of these letters; they are not given back at the end.
    pub(crate) fn take(&mut self, letters: &[Found]) -> Vec<String> {
        let messages = letters.iter().flat_map(|found| &found.messages);
        messages.filter_map(|message| self.handles.remove(message)).collect()
    }

    /// The handles of these letters.
    fn handles(&self, found: &Found) -> Vec<String> {
        found.messages.iter().filter_map(|message| self.handles.get(message).cloned()).collect()
    }

    /// The handles of notes that name no letter any more. Only a complete walk can tell.
    fn take_spent(&mut self) -> Vec<String> {
        if !self.is_complete() {
            return Vec::new();
        }
        let letter = |origin: &String| self.numbers.contains_key(origin);
        let spent = self.begun.iter().filter(|one| !one.origins.iter().any(letter));
        let spent: Vec<String> = spent.map(|one| one.message.clone()).collect();
        spent.iter().filter_map(|message| self.handles.remove(message)).collect()
    }
}

/// For how long to hide a letter while `left` more are to come, in seconds. `each` is how long a request
/// takes.
fn hide_seconds(left: usize, each: Duration) -> u64 {
    let requests = u32::try_from(left.div_ceil(BATCH_MAX)).unwrap_or(u32::MAX);
    let rest = each.saturating_mul(requests).saturating_mul(SLOWER);
    (HIDE_SECONDS_MIN + rest.as_secs()).min(HIDE_SECONDS_MAX)
}

impl Shared {
    /// All letters, by number; up to `max` with a number of at least `from` are kept with their events.
    /// The caller ends it with [`Shared::leave`].
    ///
    /// # Errors
    /// If SQS can't be read, or [`Error::Closed`] if the buffer is closed meanwhile. All that was received
    /// is given back.
    pub(crate) async fn walk(&self, from: u64, max: usize) -> Result<Walk, Error> {
        let mut walk = Walk::new();
        if let Err(error) = self.walk_into(&mut walk, from, max).await {
            self.leave(walk).await;
            return Err(error);
        }
        walk.mark_begun();
        Ok(walk)
    }

    async fn walk_into(&self, walk: &mut Walk, from: u64, max: usize) -> Result<(), Error> {
        let was_closed = self.is_closed();
        let about = self.client.about(&self.dead).await.map_err(Failure::error)?;
        let count = about.visible + about.delayed + about.in_flight;
        walk.expected = usize::try_from(count).unwrap_or(usize::MAX);
        walk.requests = 1;
        let mut empty = 0;
        loop {
            if self.is_closed() && !was_closed {
                return Err(Error::Closed);
            }
            let enough = walk.is_complete();
            let wait = if enough { 0 } else { 1 };
            let how = Receive { max: BATCH_MAX, hide: walk.hide_seconds(), wait, attempt: None };
            let messages = self.client.receive(&self.dead, how).await.map_err(Failure::error)?;
            walk.requests += 1;
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
        if !walk.is_complete() {
            let missing = walk.expected - walk.handles.len();
            tracing::warn!(
                missing,
                "another process holds dead letters at the moment, or was killed while it did; they are left \
                 out and come back by themselves"
            );
        }
        Ok(())
    }

    /// Removes the notes that name no letter any more, and gives back all else that a walk received.
    pub(crate) async fn leave(&self, mut walk: Walk) {
        let spent = walk.take_spent();
        // A note that stays is removed by the next walk.
        let _ = self.client.delete(&self.dead, &spent).await;
        let handles: Vec<_> = walk.handles.into_values().map(|handle| (handle, 0)).collect();
        let told = self.client.hide(&self.dead, &handles).await;
        if told.iter().any(|told| matches!(told, Told::Failed(_))) {
            tracing::warn!("some dead letters stay hidden until their visibility timeout ends");
        }
    }

    /// Hides these a little longer. Those that SQS may have shown to others meanwhile are dropped from
    /// `letters`.
    pub(crate) async fn keep_hidden(&self, walk: &Walk, letters: &mut Vec<Found>) {
        let handles: Vec<Vec<String>> = letters.iter().map(|found| walk.handles(found)).collect();
        let asked = handles.iter().flatten().map(|handle| (handle.clone(), HIDE_SECONDS_MIN));
        let told = self.client.hide(&self.dead, &asked.collect::<Vec<_>>()).await;
        let mut told = told.into_iter();
        let mut counts = handles.iter().map(Vec::len);
        letters.retain(|_| {
            let count = counts.next().unwrap_or_default();
            count > 0
                && told.by_ref().take(count).filter(|told| *told == Told::Done).count() == count
        });
    }

    /// Removes the note that names these. Its own messages alone are seen: the letters are hidden.
    pub(crate) async fn remove_note(&self, origins: &BTreeSet<String>) {
        let (mut notes, mut others) = (Vec::new(), Vec::new());
        for _ in 0..NOTE_RECEIVES_MAX {
            let wait = u64::from(notes.is_empty());
            let how = Receive { max: BATCH_MAX, hide: HIDE_SECONDS_MIN, wait, attempt: None };
            match self.client.receive(&self.dead, how).await {
                Ok(messages) if !messages.is_empty() => {
                    for message in messages {
                        let ours =
                            message.attribute(REPLAY).is_some() && message.origins() == *origins;
                        let pile = if ours { &mut notes } else { &mut others };
                        pile.push(message.receipt_handle);
                    }
                }
                _ => break,
            }
        }
        // What fails here is removed, or shown again, by the next walk.
        let _ = self.client.delete(&self.dead, &notes).await;
        let others: Vec<_> = others.into_iter().map(|handle| (handle, 0)).collect();
        let _ = self.client.hide(&self.dead, &others).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_hidden_for_seconds_and_longer_only_where_the_walk_takes_longer() {
        assert_eq!(hide_seconds(0, Duration::from_secs(9)), HIDE_SECONDS_MIN);
        assert_eq!(hide_seconds(191, Duration::from_millis(10)), 6);
        assert_eq!(hide_seconds(10_000, Duration::from_millis(50)), 405);
        assert_eq!(hide_seconds(usize::MAX, Duration::from_secs(1)), HIDE_SECONDS_MAX);
    }
}
