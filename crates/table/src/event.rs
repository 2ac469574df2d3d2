//! A row on its way through a buffer.
//!
//! Its payload is the row as JSON, its key the row's (so that order by key holds), its id unique for
//! each write: a row written twice is two events.

use std::sync::atomic::{AtomicU64, Ordering};

use model::Event;
use model::event::KEY_BYTES_MAX;
use sha2::{Digest, Sha256};
use store::Target;
use store::tables::Record;

use crate::{Reject, json, key};

/// Makes ids that no other process, and no other write of this one, has.
#[derive(Debug)]
pub(crate) struct Ids {
    process: u128,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self { process: rand::random(), next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        format!("{:032x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The event of a row.
pub(crate) fn of(target: &Target, row: &Record, ids: &Ids) -> Result<Event, Reject> {
    let key = short(key::show(&target.key(row)));
    let json = json::write(target, row);
    Event::new(ids.next().as_bytes(), key.as_bytes(), &json).map_err(|error| {
        // Of its parts only the row can be out of bounds.
        Reject::row(format!("is too long: {error}"))
    })
}

/// A key as an event can bear it: one that is too long is stood for by its hash, which only has to
/// lead equal keys to one lane.
fn short(key: String) -> String {
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    let hash = Sha256::digest(key.as_bytes());
    hash.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use store::tables::Value;

    use super::*;
    use crate::definition::tests::prices;

    fn row(sku: &str) -> Record {
        vec![Value::Text(sku.into()), Value::Bigint(7), Value::Null, Value::Bigint(3)]
    }

    #[test]
    fn each_write_has_an_id_of_its_own_and_each_row_one_key() {
        let (target, ids) = (prices().target, Ids::new());
        let events: Vec<Event> =
            ["a", "a", "b"].iter().map(|sku| of(&target, &row(sku), &ids).unwrap()).collect();
        assert_ne!(events[0].id(), events[1].id());
        assert_eq!(events[0].key(), b"7,a");
        assert_eq!(events[0].key(), events[1].key());
        assert_ne!(events[0].key(), events[2].key());
        assert_ne!(events[0].id(), of(&target, &row("a"), &Ids::new()).unwrap().id());
        assert_eq!(events[0].payload(), br#"{"sku":"a","shop":7,"price":null,"version":3}"#);
    }

    #[test]
    fn a_long_key_is_stood_for_by_its_hash() {
        let (target, ids) = (prices().target, Ids::new());
        let key = |sku: &str| of(&target, &row(sku), &ids).unwrap().key().to_vec();
        assert_eq!(key(&"k".repeat(62)).len(), 64);
        assert!(key(&"k".repeat(62)).starts_with(b"7,k"));
        let (long, other) = (key(&"k".repeat(63)), key(&"k".repeat(64)));
        assert_eq!(long.len(), 64);
        assert_ne!(long, other);
        assert_eq!(long, key(&"k".repeat(63)));
    }
}
