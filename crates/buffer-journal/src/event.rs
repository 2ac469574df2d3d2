//! Events as records of the log.

use buffer::{Envelope, Receipt};
use journal::{Entry, Record};
use model::Event;

const EVENT: u8 = 1;

/// An event as the log takes it.
pub(crate) fn entry(event: &Event, at_ms: i64) -> Entry<'_> {
    let len = |part: &[u8]| u8::try_from(part.len()).expect("bounded by the event");
    Entry {
        kind: EVENT,
        at_ms,
        id_len: len(event.id()),
        key_len: len(event.key()),
        body: event.as_bytes(),
    }
}

/// The event of a record; nothing where the record is none.
pub(crate) fn event_of(record: Record) -> Option<Event> {
    if record.kind != EVENT {
        return None;
    }
    Event::from_parts(record.body, record.id_len.into(), record.key_len.into()).ok()
}

/// The event of a record, on lease.
pub(crate) fn envelope(receipt: Receipt, record: Record) -> Option<Envelope> {
    let accepted_at_ms = record.at_ms;
    let event = event_of(record)?;
    Some(Envelope { receipt, accepted_at_ms, attempt: receipt.epoch, term: 0, shard: None, event })
}
