//! How an event is written into a message and read back.
//!
//! The payload is the message's body, as it is where SQS takes it (so that anybody can read it
//! there), in base64 where it is no text that SQS takes. An attribute marks the message as ours and
//! has what else there is: `1;t;ID;KEY`, or `b` for base64 and `e` for nothing, id and key in base64.
//! A message without it is a foreign producer's.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use buffer::foreign::{self, Fields};
use model::Event;
use model::clock::EpochMs;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::hex;

/// The attribute that marks a message as ours.
pub(crate) const MARK: &str = "forebay";
/// The attribute of a dead letter.
pub(crate) const LETTER: &str = "forebay-dead";
/// The attribute of a note that a replay of dead letters has begun. Their origins are its body.
pub(crate) const REPLAY: &str = "forebay-replay";
/// The longest group of a FIFO queue, in characters.
const GROUP_MAX: usize = 128;
/// What SQS adds up besides the body: names, types and values of attributes, at most.
const ATTRIBUTES_BYTES_MAX: usize = 300;

/// A message as SQS tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Message {
    pub(crate) message_id: String,
    pub(crate) receipt_handle: String,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    message_attributes: BTreeMap<String, Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    #[serde(default)]
    string_value: String,
}

/// What a message held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) event: Event,
    /// How long the payload was, where it had to be cut off.
    pub(crate) cut: Option<usize>,
}

impl Message {
    /// How often it has been received, this time included.
    pub(crate) fn receives(&self) -> u32 {
        self.number("ApproximateReceiveCount").unwrap_or(1)
    }

    /// When SQS took it.
    pub(crate) fn sent_at_ms(&self) -> EpochMs {
        self.number("SentTimestamp").unwrap_or(0)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.message_attributes.get(name).map(|attribute| attribute.string_value.as_str())
    }

    /// Which letters a note names; none if it can't be read.
    pub(crate) fn origins(&self) -> BTreeSet<String> {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.attributes.get(name)?.parse().ok()
    }

    /// The event in it. Whatever it holds is one: what can't be read is delivered too, so that it is
    /// buried with a reason.
    pub(crate) fn read(&self, fields: &Fields) -> Read {
        let ours = self.attribute(MARK).and_then(|mark| ours(mark, &self.body));
        match ours {
            Some(event) => Read { event, cut: None },
            None => foreign(&self.body, fields),
        }
    }
}

/// A message to be sent: its body, and its mark.
pub(crate) fn written(event: &Event) -> (String, String) {
    let (how, body) = match text(event.payload()) {
        Some("") => ('e', "-".to_owned()),
        Some(text) => ('t', text.to_owned()),
        None => ('b', BASE64.encode(event.payload())),
    };
    let (id, key) = (BASE64.encode(event.id()), BASE64.encode(event.key()));
    (body, format!("1;{how};{id};{key}"))
}

/// The entry of a batch that sends `event`, and what it weighs, in bytes.
pub(crate) fn entry(event: &Event, fifo: Option<(&str, &str)>) -> (Value, usize) {
    let (body, mark) = written(event);
    let weight = body.len() + mark.len() + ATTRIBUTES_BYTES_MAX;
    let mut entry = json!({
        "MessageBody": body,
        "MessageAttributes": { MARK: { "DataType": "String", "StringValue": mark } },
    });
    if let Some((group, once)) = fifo {
        entry["MessageGroupId"] = group.into();
        entry["MessageDeduplicationId"] = once.into();
    }
    (entry, weight)
}

/// The entry that sends a note about these letters; `once` names it in a FIFO queue.
pub(crate) fn begun(origins: &BTreeSet<String>, once: Option<&str>) -> Value {
    let mut entry = json!({
        "MessageBody": json!(origins).to_string(),
        "MessageAttributes": { REPLAY: { "DataType": "String", "StringValue": "1" } },
    });
    if let Some(once) = once {
        entry["MessageGroupId"] = once.into();
        entry["MessageDeduplicationId"] = once.into();
    }
    entry
}

/// The group that a FIFO queue keeps in order: the key as it is, where SQS takes that; of an event
/// without a key its id, so that it holds up nobody.
pub(crate) fn group(event: &Event) -> String {
    let of = if event.key().is_empty() { event.id() } else { event.key() };
    match std::str::from_utf8(of) {
        Ok(text) if text.len() <= GROUP_MAX && text.bytes().all(|b| b.is_ascii_graphic()) => {
            text.to_owned()
        }
        _ => format!("sha256-{}", digest(of)),
    }
}

/// Text that SQS takes as it is: the characters of XML 1.0.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(is_taken))
}

/// Whether SQS takes a character in a message.
pub(crate) fn is_taken(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn ours(mark: &str, body: &str) -> Option<Event> {
    let mut parts = mark.split(';');
    let (version, how) = (parts.next()?, parts.next()?);
    let mut bytes = || BASE64.decode(parts.next()?).ok();
    let (id, key) = (bytes()?, bytes()?);
    let decoded;
    let payload = match (version, how) {
        ("1", "t") => body.as_bytes(),
        ("1", "e") => b"",
        ("1", "b") => {
            decoded = BASE64.decode(body).ok()?;
            &decoded[..]
        }
        _ => return None,
    };
    Event::new(&id, &key, payload).ok()
}

fn foreign(body: &str, fields: &Fields) -> Read {
    let event = foreign::event(body.as_bytes(), fields);
    let cut = (event.payload().len() < body.len()).then_some(body.len());
    Read { event, cut }
}

/// Forty hexadecimal digits that stand for these bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..20])
}

#[cfg(test)]
mod tests {
    use model::event::PAYLOAD_BYTES_MAX;

    use super::*;

    fn message(body: &str, mark: Option<&str>) -> Message {
        let attribute = |mark: &str| Attribute { string_value: mark.to_owned() };
        Message {
            message_id: "m".to_owned(),
            receipt_handle: "r".to_owned(),
            body: body.to_owned(),
            attributes: BTreeMap::new(),
            message_attributes: mark.map(|m| (MARK.to_owned(), attribute(m))).into_iter().collect(),
        }
    }

    fn read(body: &str, mark: Option<&str>) -> Event {
        message(body, mark).read(&Fields::named("tx_id", "card_number")).event
    }

    #[test]
    fn any_bytes_come_back_and_text_can_be_read_by_anybody() {
        let all: Vec<u8> = (0..=255).collect();
        for payload in
            [&b""[..], b"{\"a\":1}", "결제 💳\n".as_bytes(), b"\0", &all, "\u{ffff}".as_bytes()]
        {
            let event = Event::new(&all[200..], &all[..64], payload).unwrap();
            let (body, mark) = written(&event);
            assert!(!body.is_empty() && text(body.as_bytes()).is_some());
            assert!(text(mark.as_bytes()).is_some());
            assert_eq!(read(&body, Some(&mark)), event);
        }
        let event = Event::new(b"i", b"k", b"{\"a\":1}").unwrap();
        assert_eq!(written(&event).0, "{\"a\":1}");
    }

    #[test]
    fn a_mark_that_is_damaged_makes_a_foreign_message() {
        for mark in
            ["", "1", "1;t", "1;t;aQ==", "2;t;aQ==;aw==", "1;b;aQ==;aw==", "1;t;*;*", "1;t;;"]
        {
            let event = read("{\"tx_id\":\"a\",\"card_number\":\"c\"}", Some(mark));
            assert_eq!((event.id(), event.key()), (&b"a"[..], &b"c"[..]), "{mark}");
        }
    }

    #[test]
    fn no_digit_of_a_number_is_lost_and_what_has_no_id_is_told_apart_by_its_bytes() {
        let event = read("{\"tx_id\": 9007199254740993, \"card_number\": 4000}", None);
        assert_eq!((event.id(), event.key()), (&b"9007199254740993"[..], &b"4000"[..]));
        let event = read("\u{feff}{\"tx_id\":\"a\",\"card_number\":\"c\"}", None);
        assert_eq!((event.id(), event.key()), (&b"a"[..], &b"c"[..]), "a byte order mark");
        for body in ["not json", "[1]", "{\"tx_id\":\"\"}", "{\"tx_id\":null}", ""] {
            let event = read(body, None);
            assert!(event.id().starts_with(b"unread-") && event.payload() == body.as_bytes());
        }
        let long = format!("{{\"tx_id\":\"a\",\"card_number\":\"{}\"}}", "9".repeat(65));
        assert_eq!(read(&long, None).key().len(), 40);
    }

    #[test]
    fn what_is_too_long_is_cut_off_and_says_how_long_it_was() {
        let body = format!("{{\"tx_id\":\"a\",\"x\":\"{}\"}}", "y".repeat(PAYLOAD_BYTES_MAX));
        let told = message(&body, None).read(&Fields::named("tx_id", "card_number"));
        assert_eq!((told.event.id(), told.cut), (&b"a"[..], Some(body.len())));
        assert_eq!(told.event.payload().len(), PAYLOAD_BYTES_MAX);
    }

    #[test]
    fn a_group_is_the_key_where_sqs_takes_it() {
        let group = |key: &[u8]| super::group(&Event::new(b"id", key, b"").unwrap());
        assert_eq!(group(b"4000-1"), "4000-1");
        assert_eq!(group(b""), "id");
        assert!(group(b"a b").starts_with("sha256-") && group(b"a b") != group(b"a c"));
    }
}
