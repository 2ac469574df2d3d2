//! What an event of a webhook is: one JSON object, of which a field is the id and another one the key.

use buffer::foreign::{self, Fields};
use model::Event;
use model::clock::EpochMs;
use model::event::{PAYLOAD_BYTES_MAX, without_mark};
use serde::de::IgnoredAny;
use server::{Bad, Reads};

/// What the id of an event begins with that the buffer found none in.
const UNREAD: &[u8] = b"unread-";

/// Reads what is sent over HTTP.
pub struct Events {
    fields: Fields,
}

impl Events {
    /// Events whose id and key are in these fields.
    #[must_use]
    pub fn new(fields: Fields) -> Self {
        Self { fields }
    }

    /// The event that `json` is, whose bytes stay as they are.
    ///
    /// # Errors
    /// The field that is wrong, and what is wrong with it.
    pub fn event(&self, json: &[u8]) -> Result<Event, (String, String)> {
        let wrong = |field: &str, problem: &str| Err((field.to_owned(), problem.to_owned()));
        if !is_object(json) {
            return wrong("event", "must be one JSON object");
        }
        let read = foreign::read(json, &self.fields);
        if read.outcome != foreign::Outcome::Read {
            return wrong(&self.fields.id, "must be a text of 1 to 64 bytes, or a number");
        }
        Event::new(&read.id, &read.key, json)
            .map_err(|error| ("event".to_owned(), error.to_string()))
    }
}

impl Reads for Events {
    fn read(&self, json: &[u8], _: Option<&str>, _: EpochMs) -> Result<Event, Bad> {
        self.event(json).map_err(|(field, problem)| Bad { field: field.into(), problem })
    }

    /// One webhook's trouble is not that of the others.
    fn is_vital(&self) -> bool {
        false
    }
}

/// Why an event of another producer cannot be delivered. One without an id would have the same `webhook-id` as each
/// other one of the same bytes.
pub(crate) fn unfit(event: &Event) -> Option<String> {
    let payload = event.payload();
    let may_be_cut = payload.len() == PAYLOAD_BYTES_MAX;
    let has_no_id = event.id().starts_with(UNREAD)
        && event.id() == foreign::read(payload, &Fields::named("", "")).id;
    if !may_be_cut && !has_no_id {
        return None;
    }
    match (is_object(payload), has_no_id) {
        (false, _) if may_be_cut => {
            Some(format!("event: must be one JSON object of at most {PAYLOAD_BYTES_MAX} bytes"))
        }
        (false, _) => Some("event: must be one JSON object".to_owned()),
        (true, true) => Some("event: the field of id_field must have 1 to 64 bytes".to_owned()),
        (true, false) => None,
    }
}

fn is_object(json: &[u8]) -> bool {
    let json = without_mark(json);
    json.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<IgnoredAny>(json).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Event, (String, String)> {
        Events::new(Fields::named("id", "customer")).event(json.as_bytes())
    }

    #[test]
    fn id_and_key_are_read_and_the_bytes_stay() {
        let json = r#"{ "id":"o-1",  "customer": 7, "total": 1.50 }"#;
        let event = read(json).unwrap();
        assert_eq!((event.id(), event.key()), (&b"o-1"[..], &b"7"[..]));
        assert_eq!(event.payload(), json.as_bytes());
        assert_eq!(read(r#"{"id":"o-1"}"#).unwrap().key(), b"");
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_field() {
        let check = |json: &str, field: &str| {
            let (got, problem) = read(json).unwrap_err();
            assert_eq!(got, field, "{json}: {problem}");
            assert!(!problem.contains("4000"), "{problem}");
        };
        for json in ["", "7", "[{\"id\":\"a\"}]", "{\"id\":\"4000\"", "{\"id\":\"a\"} x"] {
            check(json, "event");
        }
        for json in ["{}", "{\"id\":null}", "{\"id\":\"\"}", "{\"id\":{}}"] {
            check(json, "id");
        }
        check(&format!("{{\"id\":\"{}\"}}", "4".repeat(65)), "id");
        check(&format!("{{\"id\":\"a\",\"x\":\"{}\"}}", "4".repeat(70_000)), "event");
    }

    #[test]
    fn an_event_of_another_producer_is_unfit_without_an_id_or_its_end() {
        let fields = Fields::named("id", "customer");
        let of = |payload: &[u8]| unfit(&foreign::event(payload, &fields));
        assert_eq!(of(b"{\"id\":\"a\"}"), None);
        assert!(of(b"{\"no\":\"a\"}").unwrap().contains("the field of id_field"));
        assert!(of(b"hello").unwrap().contains("must be one JSON object"));
        let long = format!("{{\"id\":\"a\",\"x\":\"{}\"}}", "y".repeat(PAYLOAD_BYTES_MAX));
        assert!(of(long.as_bytes()).unwrap().contains("of at most 65536 bytes"));
        // Nothing is cut off of one that is exactly as long as it may be.
        let rest = PAYLOAD_BYTES_MAX - "{\"id\":\"a\",\"x\":\"\"}".len();
        let whole = format!("{{\"id\":\"a\",\"x\":\"{}\"}}", "y".repeat(rest));
        assert_eq!((whole.len(), of(whole.as_bytes())), (PAYLOAD_BYTES_MAX, None));
        // An id that begins like that of an unread event is an id.
        assert_eq!(of(b"{\"id\":\"unread-b\"}"), None);
    }
}
