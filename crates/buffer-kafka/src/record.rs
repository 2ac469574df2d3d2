//! How an event is written as a record, and how a record is read: ours by its headers, a foreign
//! one by the fields of its JSON.

use buffer::Error;
use bytes::{BufMut, BytesMut};
use model::Event;
use model::clock::EpochMs;
use model::event::{self, ID_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

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

/// The JSON fields of foreign events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) id: String,
    pub(crate) key: String,
}

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
    let (id, key) = identify(payload, fields, place);
    // What is cut off an object leaves no object: its handler rejects it, under its own id.
    let kept = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
    let mut bytes = BytesMut::with_capacity(id.len() + key.len() + kept.len());
    bytes.put_slice(id.as_bytes());
    bytes.put_slice(key.as_bytes());
    bytes.put_slice(kept);
    let event = Event::from_parts(bytes.freeze(), id.len(), key.len())
        .expect("id, key and payload are within bounds");
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

/// Id and key of a foreign payload. One that has no id gets its place for one: a name that the
/// same record has whenever it is read.
fn identify(payload: &[u8], fields: &Fields, place: Place) -> (String, String) {
    let unread = || (format!("unread-{}-{}", place.partition, place.offset), String::new());
    let Some(found) = find(payload, fields) else { return unread() };
    let (id, key) = (found.0.unwrap_or_default(), found.1.unwrap_or_default());
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return unread();
    }
    (id, if key.len() > KEY_BYTES_MAX { folded(&key) } else { key })
}

/// The two fields, as text: a number as it is written, so that no digit of an id is lost. `None` if
/// it is no JSON object.
fn find(payload: &[u8], fields: &Fields) -> Option<(Option<String>, Option<String>)> {
    struct Found<'a>(&'a Fields);
    impl<'de> serde::de::DeserializeSeed<'de> for Found<'_> {
        type Value = (Option<String>, Option<String>);
        fn deserialize<D: serde::Deserializer<'de>>(
            self,
            from: D,
        ) -> Result<Self::Value, D::Error> {
            from.deserialize_map(self)
        }
    }
    impl<'de> serde::de::Visitor<'de> for Found<'_> {
        type Value = (Option<String>, Option<String>);
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut found = (None, None);
            while let Some(name) = map.next_key::<String>()? {
                if name == self.0.id {
                    found.0 = text(map.next_value()?);
                } else if name == self.0.key {
                    found.1 = text(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let payload = model::event::without_mark(payload);
    let mut json = serde_json::Deserializer::from_slice(payload);
    let found = serde::de::DeserializeSeed::deserialize(Found(fields), &mut json).ok()?;
    json.end().ok()?;
    Some(found)
}

fn text(value: &RawValue) -> Option<String> {
    let raw = value.get();
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok(),
        b'-' | b'0'..=b'9' => Some(raw.to_owned()),
        _ => None,
    }
}

/// A key that is too long, shortened so that those that differ most likely still do.
fn folded(key: &str) -> String {
    let halves = [0xcbf2_9ce4_8422_2325_u64, 0x6c62_272e_07bb_0142].map(|seed| {
        key.bytes()
            .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    });
    format!("folded-{:016x}{:016x}", halves[0], halves[1])
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn fields() -> Fields {
        Fields { id: "tx_id".to_owned(), key: "card_number".to_owned() }
    }

    fn foreign(payload: &[u8]) -> Told {
        let time = Timestamp::CreateTime(1_700_000_000_000);
        let record = OwnedMessage::new(Some(payload.to_vec()), None, "t".into(), time, 3, 42, None);
        read(&record, &fields()).unwrap()
    }

    #[test]
    fn a_foreign_event_is_known_by_its_fields_to_the_last_digit() {
        let check = |payload: &str, id: &str, key: &str| {
            let told = foreign(payload.as_bytes());
            assert_eq!((told.event.id(), told.event.key()), (id.as_bytes(), key.as_bytes()));
            assert_eq!(told.event.payload(), payload.as_bytes());
        };
        check(r#"{"tx_id":"a","card_number":"c","x":{"tx_id":"no"}}"#, "a", "c");
        check(r#"{"card_number":4000, "tx_id" : 9007199254740993}"#, "9007199254740993", "4000");
        check(r#"{"tx_id":-1.50}"#, "-1.50", "");
        check("{\"tx_id\":\"\\u0041\\n\"}", "A\n", "");
    }

    #[test]
    fn what_cannot_be_read_is_an_event_too_and_never_panics() {
        let long = format!(r#"{{"tx_id":"{}"}}"#, "x".repeat(65));
        let deep = "[".repeat(10_000);
        for text in [
            "not json",
            "[1]",
            r#"{"tx_id":""}"#,
            r#"{"tx_id":null}"#,
            "",
            "{}x",
            "\u{0}",
            &long,
            &deep,
        ] {
            let told = foreign(text.as_bytes());
            assert_eq!((told.event.id(), told.event.key()), (&b"unread-3-42"[..], &b""[..]));
            assert_eq!(told.event.payload(), text.as_bytes());
        }
        assert_eq!(foreign(&[0xff, 0xfe]).event.payload(), [0xff, 0xfe]);
    }

    #[test]
    fn what_is_too_long_is_cut_off_and_keeps_its_id() {
        let payload =
            format!(r#"{{"tx_id":"long","card_number":"{0}","x":"{0}"}}"#, "y".repeat(70_000));
        let told = foreign(payload.as_bytes());
        assert_eq!(
            (told.event.id(), told.event.payload().len()),
            (&b"long"[..], PAYLOAD_BYTES_MAX)
        );
        assert!(told.event.key().starts_with(b"folded-"));
    }
}
