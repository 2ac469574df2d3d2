//! How an event of another producer is read: one contract for each backend.
//!
//! Other producers push plain JSON into a Redis list or stream, a Kafka topic or an SQS queue. The buffer needs
//! an id and a key of each event. [`read`] takes both from the payload; it never fails. Kafka and SQS call it.
//! Redis routes inside a script, so `buffer-redis/src/scripts/route.lua` implements the same rules. The vectors in
//! `vectors/foreign.jsonl` hold both to the same answers ([`crate::conformance::foreign`]).
//!
//! # The payload
//! - One UTF-8 byte order mark in front is skipped.
//! - The payload must then hold one JSON object, and after it only white space, or a zero byte and anything.
//! - Objects and arrays may be nested [`DEPTH_MAX`] deep, the outermost one included.
//!
//! # The fields
//! [`Fields`] names them; no name is built in. Only members of the outermost object count.
//! - Names and texts are compared and taken with their escapes decoded.
//! - A number is taken as it is written: `1.50` is not `1.5`, and no digit of a long number is lost.
//! - `true`, `false`, `null`, an object or an array count as a missing field.
//! - Of a field that is given several times, the last one counts, whatever its type.
//!
//! # The answer
//! | id | key | result |
//! |---|---|---|
//! | 1 to 64 bytes | at most 64 bytes | both as given |
//! | 1 to 64 bytes | missing or empty | an empty key; the buffer routes by the id |
//! | 1 to 64 bytes | longer than 64 bytes | the SHA-1 digest of the key, 40 hexadecimal digits |
//! | missing, empty or longer than 64 bytes | any | id `unread-` and the SHA-1 digest of the payload; empty key |
//! | the payload is not such an object | | the same |
//!
//! The digest of the payload covers all its bytes. A payload longer than 65,536 bytes (64 KiB) is read whole, and
//! then cut off at that length for the event: its id and its key stay as given.
//!
//! # Where JSON is stricter
//! Redis decodes with cjson, which accepts a little more than RFC 8259. A stricter script would look at each byte of
//! each event a second time, so the contract accepts the same: control characters (all but the zero byte) and
//! bytes that are not UTF-8 inside of texts; numbers such as `1.` and `-.5`; a zero byte after the object. It decides
//! only under which id and key such an event travels. The handler reads the payload strictly, and refuses it. For the
//! same reason the digest is SHA-1: Redis offers no other to scripts.

mod fields;
mod json;

use bytes::{BufMut, BytesMut};
use model::Event;
use model::event::{ID_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};
use sha1::{Digest, Sha1};

pub use fields::Fields;
pub use json::DEPTH_MAX;

/// Where id and key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The id is the producer's own; the key is, too, or its digest, or empty.
    Read,
    /// The payload is an object without a usable id.
    NoId,
    /// The payload is not a JSON object.
    NoObject,
}

/// Id and key of an event of another producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 1 to 64 bytes.
    pub id: Vec<u8>,
    /// At most 64 bytes.
    pub key: Vec<u8>,
    /// Where they came from.
    pub outcome: Outcome,
}

/// Reads id and key of a payload of any length, as the module's documentation says. It depends on nothing else, and
/// takes time in proportion to the payload.
#[must_use]
pub fn read(payload: &[u8], fields: &Fields) -> Identity {
    let unread = |outcome| {
        let id = format!("unread-{}", digest(payload)).into_bytes();
        Identity { id, key: Vec::new(), outcome }
    };
    let json = model::event::without_mark(payload);
    let Some(found) = json::find(json, fields) else { return unread(Outcome::NoObject) };
    let id = found.id.unwrap_or_default();
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return unread(Outcome::NoId);
    }
    let mut key = found.key.unwrap_or_default();
    if key.len() > KEY_BYTES_MAX {
        key = digest(&key).into_bytes();
    }
    Identity { id, key, outcome: Outcome::Read }
}

/// The event of a payload of any length. One longer than 65,536 bytes is cut off there.
#[must_use]
pub fn event(payload: &[u8], fields: &Fields) -> Event {
    let Identity { id, key, .. } = read(payload, fields);
    let kept = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
    let mut bytes = BytesMut::with_capacity(id.len() + key.len() + kept.len());
    bytes.put_slice(&id);
    bytes.put_slice(&key);
    bytes.put_slice(kept);
    Event::from_parts(bytes.freeze(), id.len(), key.len())
        .expect("id, key and payload are within bounds")
}

/// The SHA-1 digest of these bytes, as 40 hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(bytes);
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::foreign::{Vector, fields, vectors};

    #[test]
    fn each_vector_is_answered_as_the_file_says() {
        let fields = fields();
        for Vector { what, payload, id, key, outcome } in vectors() {
            let got = read(&payload, &fields);
            assert_eq!(got, Identity { id, key, outcome }, "{what}");
            let event = event(&payload, &fields);
            assert_eq!((event.id(), event.key()), (&got.id[..], &got.key[..]), "{what}");
            let kept = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
            assert_eq!(event.payload(), kept, "{what}");
        }
    }

    #[test]
    fn any_names_may_be_given_and_one_for_both() {
        let check = |json: &str, id: &str, key: &str, expect: (&str, &str)| {
            let got = read(json.as_bytes(), &Fields::named(id, key));
            assert_eq!((&got.id[..], &got.key[..]), (expect.0.as_bytes(), expect.1.as_bytes()));
        };
        check(r#"{"tx_id":"a","card_number":4000}"#, "tx_id", "card_number", ("a", "4000"));
        check(r#"{"tx_id":"a"}"#, "tx_id", "tx_id", ("a", "a"));
        check(r#"{"a\"b":7,"%":"8"}"#, "a\"b", "%", ("7", "8"));
    }

    /// What a strict reader accepts is read the same.
    #[test]
    fn strict_json_is_read_as_a_strict_reader_reads_it() {
        let fields = fields();
        for Vector { what, payload, .. } in vectors() {
            let json = model::event::without_mark(&payload);
            let Ok(strict) = serde_json::from_slice::<serde_json::Value>(json) else { continue };
            let text = |name: &str| strict.get(name)?.as_str().map(str::as_bytes);
            let got = read(&payload, &fields);
            if got.outcome != Outcome::Read {
                let id = text(&fields.id).unwrap_or_default();
                assert!(id.is_empty() || id.len() > ID_BYTES_MAX, "{what}");
                continue;
            }
            assert!(text(&fields.id).is_none_or(|id| id == got.id), "{what}");
        }
    }
}
