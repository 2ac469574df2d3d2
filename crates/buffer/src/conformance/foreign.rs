//! Events of other producers: each backend reads them as [`crate::foreign`] says.
//!
//! The vectors lie in `vectors/foreign.jsonl`, whose format `vectors/README.md` describes. A backend's test sends
//! each payload as a client of its server would, and gives [`check`] the events that came of them.

use std::collections::HashMap;

use model::Event;
use model::event::PAYLOAD_BYTES_MAX;
use serde_json::Value;

use crate::foreign::{Fields, Outcome};

const FILE: &str = include_str!("../../vectors/foreign.jsonl");

/// One payload and what is read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// What is special about it.
    pub what: String,
    /// What a producer sends, of any length.
    pub payload: Vec<u8>,
    /// The id of its event.
    pub id: Vec<u8>,
    /// The key of its event.
    pub key: Vec<u8>,
    /// Where they come from.
    pub outcome: Outcome,
}

/// The fields that the vectors are read by.
///
/// # Panics
/// If the file is damaged.
#[must_use]
pub fn fields() -> Fields {
    let first: Value = serde_json::from_str(FILE.lines().next().expect("a line")).expect("JSON");
    let name = |what: &str| first["fields"][what].as_str().expect("a field's name");
    Fields::named(name("id"), name("key"))
}

/// All vectors of the file. No two have the same payload, also once it is cut off.
///
/// # Panics
/// If the file is damaged.
#[must_use]
pub fn vectors() -> Vec<Vector> {
    let read = |line: &str| {
        let vector: Value = serde_json::from_str(line).expect("a vector is JSON");
        let what = vector["what"].as_str().expect("a vector says what it is").to_owned();
        let outcome = match vector["outcome"].as_str() {
            Some("read") => Outcome::Read,
            Some("no_id") => Outcome::NoId,
            Some("no_object") => Outcome::NoObject,
            other => panic!("{what}: {other:?} is no outcome"),
        };
        let part = |name: &str| bytes(&vector[name]);
        Vector { what, payload: part("payload"), id: part("id"), key: part("key"), outcome }
    };
    FILE.lines().skip(1).map(read).collect()
}

/// Bytes in the file: parts one after the other.
fn bytes(parts: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts.as_array().expect("bytes are a list of parts") {
        if let Some(text) = part.as_str() {
            bytes.extend_from_slice(text.as_bytes());
        } else if let Some(byte) = part.as_u64() {
            bytes.push(u8::try_from(byte).expect("a byte"));
        } else {
            let times = part["times"].as_u64().and_then(|times| usize::try_from(times).ok());
            let text = part["repeat"].as_str().expect("a text to repeat");
            bytes.extend(text.repeat(times.expect("how often")).bytes());
        }
    }
    bytes
}

/// Holds the events that came of `sent` against what the contract says of them.
///
/// # Panics
/// If one is missing, came twice, or has another id or key.
pub fn check(sent: &[Vector], came: &[Event]) {
    assert!(!sent.is_empty(), "nothing was sent");
    assert_eq!(came.len(), sent.len(), "each vector becomes one event");
    let by_payload: HashMap<&[u8], &Event> =
        came.iter().map(|event| (event.payload(), event)).collect();
    for vector in sent {
        let kept = &vector.payload[..vector.payload.len().min(PAYLOAD_BYTES_MAX)];
        let what = &vector.what;
        let event = by_payload.get(kept).unwrap_or_else(|| panic!("{what}: it did not come"));
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(shown(event.id()), shown(&vector.id), "the id of: {what}");
        assert_eq!(shown(event.key()), shown(&vector.key), "the key of: {what}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_vectors_have_the_same_payload_or_the_same_description() {
        let vectors = vectors();
        let kept = |vector: &Vector| {
            vector.payload[..vector.payload.len().min(PAYLOAD_BYTES_MAX)].to_vec()
        };
        let payloads: HashSet<Vec<u8>> = vectors.iter().map(kept).collect();
        let texts: HashSet<&str> = vectors.iter().map(|vector| vector.what.as_str()).collect();
        assert_eq!((payloads.len(), texts.len()), (vectors.len(), vectors.len()));
    }
}
