//! Whatever the bytes, an event of another producer gets an id and a key within their bounds. A strict reader of JSON
//! finds the same fields, and id and key that are sent again stay the same.
#![no_main]

use buffer::foreign::{self, Fields, Outcome};
use libfuzzer_sys::fuzz_target;
use model::event::{ID_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};
use serde_json::Value;

fuzz_target!(|payload: &[u8]| {
    let fields = Fields::named("order.id", "card-no");
    let read = foreign::read(payload, &fields);
    assert!((1..=ID_BYTES_MAX).contains(&read.id.len()));
    assert!(read.key.len() <= KEY_BYTES_MAX);
    if read.outcome != Outcome::Read {
        assert!(read.id.starts_with(b"unread-") && read.id.len() == 47 && read.key.is_empty());
    }
    assert_eq!(foreign::read(payload, &fields), read);

    let event = foreign::event(payload, &fields);
    assert_eq!((event.id(), event.key()), (&read.id[..], &read.key[..]));
    assert_eq!(event.payload(), &payload[..payload.len().min(PAYLOAD_BYTES_MAX)]);

    let json = model::event::without_mark(payload);
    if let Ok(strict) = serde_json::from_slice::<Value>(json) {
        held_against(&strict, &read, &fields);
    }

    let (Ok(id), Ok(key)) = (std::str::from_utf8(&read.id), std::str::from_utf8(&read.key)) else {
        return;
    };
    let sent = serde_json::json!({ &fields.id: id, &fields.key: key }).to_string();
    let again = foreign::read(sent.as_bytes(), &fields);
    assert_eq!((again.id, again.key, again.outcome), (read.id, read.key, Outcome::Read));
});

/// What a strict reader finds is what was read.
fn held_against(strict: &Value, read: &foreign::Identity, fields: &Fields) {
    assert_eq!(read.outcome == Outcome::NoObject, !strict.is_object());
    let given = |name: &str| match strict.get(name) {
        Some(Value::String(text)) => Some(text.as_bytes()),
        _ => None,
    };
    if let Some(id) = given(&fields.id) {
        let fits = (1..=ID_BYTES_MAX).contains(&id.len());
        assert_eq!(read.outcome == Outcome::Read, fits);
        assert!(!fits || read.id == id);
    } else if !matches!(strict.get(&fields.id), Some(Value::Number(_))) {
        assert_ne!(read.outcome, Outcome::Read);
    }
    if read.outcome != Outcome::Read {
        return;
    }
    match strict.get(&fields.key) {
        Some(Value::String(key)) if key.len() <= KEY_BYTES_MAX => {
            assert_eq!(read.key, key.as_bytes());
        }
        Some(Value::String(_)) => assert_eq!(read.key.len(), 40),
        Some(Value::Number(_)) => assert!(!read.key.is_empty()),
        _ => assert!(read.key.is_empty()),
    }
}
