//! How an event is written into Redis and read back.
//!
//! An event is offered as its tail: shard 3 digits, the lengths of id and key 2 each, id, key and
//! payload. A value begins with a head of fixed width: seq 16 digits, accepted ms 13, leases so far
//! 5, shard 3. In lists the rest of the tail follows; in streams the tail is a field of an entry whose
//! id ends in the seq.
//!
//! In Redis numbers begin at [`FIRST`], so that all have 16 digits and scripts need not pad them.

use std::fmt;

use buffer::Error;
use bytes::Bytes;
use model::Event;
use model::clock::EpochMs;
use redis::Value;

/// What is added to every number there; as in `keys.lua`. All stay below what a double holds exactly.
pub(crate) const FIRST: u64 = 1_000_000_000_000_000;

const SEQ: usize = 16;
/// Where a list's value has its tail.
const TAIL: usize = SEQ + 13 + 5;
const TAIL_HEAD: usize = 3 + 2 + 2;

/// An event as a script told of it.
pub(crate) struct Told {
    pub(crate) seq: u64,
    pub(crate) accepted_at_ms: EpochMs,
    /// How often it had been leased before.
    pub(crate) leases: u32,
    pub(crate) shard: u16,
    /// In streams.
    pub(crate) entry: Option<Entry>,
    pub(crate) event: Event,
}

/// The id of a stream's entry: when it was made, and its event's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) ms: EpochMs,
    pub(crate) seq: u64,
}

impl Entry {
    /// `None` for an id that none of ours has, as `0-0`.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        let (ms, seq) = id.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse::<u64>().ok()?.checked_sub(FIRST)? })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq.saturating_add(FIRST))
    }
}

/// The shard of an event: by its key, or by its id where there is no key. As in `push.lua`.
pub(crate) fn shard_of(event: &Event, shards: u16) -> u8 {
    let text = if event.key().is_empty() { event.id() } else { event.key() };
    let hash =
        text.iter().fold(5381_u64, |hash, byte| (hash * 131 + u64::from(*byte)) % 4_294_967_291);
    u8::try_from(hash % u64::from(shards.max(1))).expect("there are at most 256 shards")
}

/// An event as it is offered.
pub(crate) fn tail(event: &Event, shard: u8, into: &mut Vec<u8>) {
    use std::io::Write as _;
    into.clear();
    write!(into, "{shard:03}{:02}{:02}", event.id().len(), event.key().len())
        .expect("a vector takes whatever is written");
    into.extend_from_slice(event.as_bytes());
}

/// Reads what a claim or a peek replied: of lists values; of streams for each event its entry id,
/// what is stored of it, and its tail.
pub(crate) fn read(values: Vec<Value>, stream: bool) -> Result<Vec<Told>, Error> {
    let mut told = Vec::with_capacity(if stream { values.len() / 3 } else { values.len() });
    let mut values = values.into_iter();
    while let Some(value) = values.next() {
        told.push(if stream {
            let entry = bytes(value)?;
            let entry = text(&entry, 0..entry.len())?;
            let entry = Entry::parse(entry).ok_or_else(|| damaged("an id is not one of ours"))?;
            let mut part = || bytes(values.next().unwrap_or(Value::Nil));
            let (stored, tail) = (part()?, Bytes::from(part()?));
            let event = event_of(&tail, 0)?;
            head(entry.seq, &stored, 0, event, Some(entry))?
        } else {
            let value = Bytes::from(bytes(value)?);
            let event = event_of(&value, TAIL)?;
            let seq: u64 = number(&value, 0..SEQ)?;
            let seq = seq.checked_sub(FIRST).ok_or_else(|| damaged("a number is too low"))?;
            head(seq, &value, SEQ, event, None)?
        });
    }
    Ok(told)
}

/// The event whose tail begins there.
fn event_of(value: &Bytes, at: usize) -> Result<Event, Error> {
    let id_len: usize = number(value, at + 3..at + 5)?;
    let key_len: usize = number(value, at + 5..at + TAIL_HEAD)?;
    Event::from_parts(value.slice(at + TAIL_HEAD..), id_len, key_len)
        .map_err(|error| damaged(&error.to_string()))
}

fn head(
    seq: u64,
    value: &[u8],
    at: usize,
    event: Event,
    entry: Option<Entry>,
) -> Result<Told, Error> {
    Ok(Told {
        seq,
        accepted_at_ms: number(value, at..at + 13)?,
        leases: number(value, at + 13..at + 18)?,
        shard: number(value, at + 18..at + 21)?,
        entry,
        event,
    })
}

fn bytes(value: Value) -> Result<Vec<u8>, Error> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(damaged("a value is missing")),
    }
}

fn text(value: &[u8], range: std::ops::Range<usize>) -> Result<&str, Error> {
    value
        .get(range)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .ok_or_else(|| damaged("a value is too short"))
}

fn number<T: std::str::FromStr>(value: &[u8], range: std::ops::Range<usize>) -> Result<T, Error> {
    text(value, range)?.parse().map_err(|_| damaged("a number is not one"))
}

pub(crate) fn damaged(what: &str) -> Error {
    Error::Corrupt(format!("what Redis holds under this name is not this buffer's: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_back_as_it_was_written() {
        let event = Event::new(b"id\0", b"key", &[0, 255, b'\n']).unwrap();
        let mut its = Vec::new();
        tail(&event, 7, &mut its);
        let value = [&b"1000000000000042170000000000000003"[..], &its].concat();
        let list = read(vec![Value::BulkString(value)], false).unwrap().remove(0);
        let parts = [&b"1700000000000-1000000000000042"[..], b"170000000000000003007", &its];
        let parts = parts.map(|part| Value::BulkString(part.to_vec()));
        let stream = read(parts.into(), true).unwrap().remove(0);
        for told in [list, stream] {
            assert_eq!((told.seq, told.accepted_at_ms), (42, 1_700_000_000_000));
            assert_eq!((told.leases, told.shard, &told.event), (3, 7, &event));
            let entry = told.entry.map(|entry| entry.to_string());
            assert!(entry.is_none_or(|entry| entry == "1700000000000-1000000000000042"));
        }
    }

    #[test]
    fn what_is_not_a_value_is_refused_and_does_not_panic() {
        for value in [&b""[..], b"x", &[b'9'; 41], &[0xff; 50]] {
            let value = Value::BulkString(value.to_vec());
            assert!(read(vec![value], false).is_err());
        }
        for id in ["", "x", "5", "5-1", "-1000000000000042", "0-0"] {
            let parts = [id.as_bytes(), b"170000000000000003007", b"0070100i{}"];
            let parts = parts.map(|part| Value::BulkString(part.to_vec()));
            let refused = read(parts.into(), true).err().map(|error| error.to_string());
            assert!(refused.is_some_and(|why| why.contains("an id is not one of ours")), "{id}");
        }
        assert!(read(vec![Value::Nil], true).is_err());
    }
}
