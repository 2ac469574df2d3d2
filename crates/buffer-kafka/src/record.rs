//! How an event is written as a record, and how a record is read: ours by its headers, a foreign
//! one as [`buffer::foreign`] says.

use buffer::Error;
use buffer::foreign::{self, Fields};
use model::Event;
use model::clock::EpochMs;
use model::event::{self, PAYLOAD_BYTES_MAX};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

use crate::place::Place;

/// Headers of our records. The key is the record's own.
const ID: &str = "forebay-id";
const ACCEPTED: &str = "forebay-accepted-ms";
const REASON: &str = "forebay-reason";
const ATTEMPTS: &str = "forebay-attempts";
/// Of dead letters: the event's key, for their records' keys say where it lay.
const KEY: &str = "forebay-key";

/// Why a record without a value becomes a dead letter.
const TOMBSTONE: &str = "payload: the record is a tombstone: it has no value, and tells Kafka to delete its key. \
                         Send each event as a record's value";

/// An event as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) place: Place,
    pub(crate) accepted_at_ms: EpochMs,
    pub(crate) event: Event,
    /// Why it can't be settled, where that is known here: its handler would see only what is left of it.
    pub(crate) unfit: Option<String>,
}

/// The headers of an event of ours; `accepted_at_ms` only where the record's own time is not it.
pub(crate) fn headers(event: &Event, accepted_at_ms: Option<EpochMs>) -> OwnedHeaders {
    let headers =
        OwnedHeaders::new_with_capacity(2).insert(Header { key: ID, value: Some(event.id()) });
    match accepted_at_ms {
        None => headers,
        Some(ms) => headers.insert(Header { key: ACCEPTED, value: Some(&ms.to_string()) }),
    }
}

/// The headers of a dead letter.
pub(crate) fn dead_headers(
    event: &Event,
    accepted_at_ms: EpochMs,
    attempts: u32,
    reason: &str,
) -> OwnedHeaders {
    headers(event, Some(accepted_at_ms))
        .insert(Header { key: KEY, value: Some(event.key()) })
        .insert(Header { key: ATTEMPTS, value: Some(&attempts.to_string()) })
        .insert(Header { key: REASON, value: Some(reason) })
}

/// Reads a record of the topic.
///
/// # Errors
/// If its place is past all bounds. What can't be read is no error: it becomes an event whose
/// handler will say so.
pub(crate) fn read<M: Message>(record: &M, fields: &Fields) -> Result<Told, Error> {
    let place = Place::checked(record.partition(), record.offset())?;
    let stamped = record.timestamp().to_millis().filter(|ms| *ms >= 0).unwrap_or(0);
    let accepted_at_ms = header(record, ACCEPTED).and_then(number).unwrap_or(stamped);
    let payload = record.payload().unwrap_or_default();
    let ours = header(record, ID)
        .and_then(|id| Event::new(id, record.key().unwrap_or_default(), payload).ok());
    if let Some(event) = ours {
        return Ok(Told { place, accepted_at_ms, event, unfit: None });
    }
    // What is cut off an object leaves no object: its handler rejects it, under its own id.
    let event = foreign::event(payload, fields);
    Ok(Told { place, accepted_at_ms, event, unfit: unfit(record.payload()) })
}

/// What is wrong with a foreign record's value.
fn unfit(value: Option<&[u8]>) -> Option<String> {
    match value {
        None => Some(TOMBSTONE.to_owned()),
        Some(value) if value.len() > PAYLOAD_BYTES_MAX => Some(event::too_long(value.len())),
        Some(_) => None,
    }
}

/// A dead letter as its record has it: the letter's event, why, when accepted, how often leased.
pub(crate) fn read_dead<M: Message>(record: &M) -> Option<(Event, String, EpochMs, u32)> {
    let id = header(record, ID)?;
    let key = header(record, KEY).unwrap_or_default();
    let event = Event::new(id, key, record.payload().unwrap_or_default()).ok()?;
    let reason = String::from_utf8_lossy(header(record, REASON)?).into_owned();
    let accepted_at_ms = header(record, ACCEPTED).and_then(number)?;
    let attempts = header(record, ATTEMPTS).and_then(number)?;
    Some((event, reason, accepted_at_ms, attempts))
}

fn header<'a, M: Message>(record: &'a M, name: &str) -> Option<&'a [u8]> {
    // The last one counts, as everywhere in Kafka.
    let headers = record.headers()?;
    (0..headers.count()).rev().map(|n| headers.get(n)).find(|h| h.key == name)?.value
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn foreign(payload: &[u8]) -> Told {
        let time = Timestamp::CreateTime(1_700_000_000_000);
        let record = OwnedMessage::new(Some(payload.to_vec()), None, "t".into(), time, 3, 42, None);
        read(&record, &buffer::conformance::foreign::fields()).unwrap()
    }

    #[test]
    fn a_record_without_our_headers_is_read_as_the_contract_says() {
        for vector in buffer::conformance::foreign::vectors() {
            let event = foreign(&vector.payload).event;
            assert_eq!((event.id(), event.key()), (&vector.id[..], &vector.key[..]));
        }
    }
}
