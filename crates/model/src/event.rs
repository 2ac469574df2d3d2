//! What a producer sent, as the buffers see it: bytes with an identity and a key.

use bytes::{BufMut, Bytes, BytesMut};

use crate::class::{Class, Classify};

/// The longest `id`, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// The longest `key`, in bytes.
pub const KEY_BYTES_MAX: usize = 64;
/// The longest payload, in bytes (64 KiB).
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Why a payload of so many bytes becomes a dead letter, whatever buffer it came through.
#[must_use]
pub fn too_long(bytes: usize) -> String {
    format!(
        "payload: {bytes} bytes are longer than 64 KiB ({PAYLOAD_BYTES_MAX} bytes), the most an event may have; \
         cut off"
    )
}

/// JSON without the UTF-8 byte order mark that some producers write in front of it. Every reader of
/// an event's JSON passes over one such mark, whatever way the event came in.
#[must_use]
pub fn without_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json)
}

/// One event: `id` is the producer's own identity and the key of every dedupe; `key` is what order
/// is kept by (card, product, member); the payload is opaque here.
///
/// The three parts lie in one allocation (`id`, `key`, payload, in that order), so that handing an
/// event on is one reference count, not three. That is what lets a backlog be leased at the speed
/// it can be read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Event {
    bytes: Bytes,
    id_len: u8,
    key_len: u8,
}

/// Why bytes do not make an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The id is empty or too long.
    #[error("id: must be 1 to {ID_BYTES_MAX} bytes, got {0}")]
    Id(usize),
    /// The key is too long.
    #[error("key: must be at most {KEY_BYTES_MAX} bytes, got {0}")]
    Key(usize),
    /// The payload is too long.
    #[error("payload: must be at most {PAYLOAD_BYTES_MAX} bytes, got {0}")]
    Payload(usize),
    /// The parts named do not lie inside the bytes given.
    #[error("parts: id {id_len} and key {key_len} bytes do not fit in {len}")]
    Parts {
        /// Bytes said to be the id.
        id_len: usize,
        /// Bytes said to be the key.
        key_len: usize,
        /// Bytes there are.
        len: usize,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl Event {
    /// Copies the three parts into one event.
    ///
    /// # Errors
    /// If a part is out of bounds: `id` 1..=[`ID_BYTES_MAX`], `key` 0..=[`KEY_BYTES_MAX`], payload
    /// 0..=[`PAYLOAD_BYTES_MAX`] bytes.
    pub fn new(id: &[u8], key: &[u8], payload: &[u8]) -> Result<Self, Error> {
        check(id.len(), key.len(), payload.len())?;
        let mut bytes = BytesMut::with_capacity(id.len() + key.len() + payload.len());
        bytes.put_slice(id);
        bytes.put_slice(key);
        bytes.put_slice(payload);
        Self::from_parts(bytes.freeze(), id.len(), key.len())
    }

    /// Takes bytes that already hold `id`, `key` and payload, one after the other.
    ///
    /// # Errors
    /// If a part is out of bounds, as for [`Event::new`], or the parts are longer than the bytes.
    pub fn from_parts(bytes: Bytes, id_len: usize, key_len: usize) -> Result<Self, Error> {
        let Some(payload_len) = bytes.len().checked_sub(id_len + key_len) else {
            return Err(Error::Parts { id_len, key_len, len: bytes.len() });
        };
        check(id_len, key_len, payload_len)?;
        let id_len = u8::try_from(id_len).map_err(|_| Error::Id(id_len))?;
        let key_len = u8::try_from(key_len).map_err(|_| Error::Key(key_len))?;
        Ok(Self { bytes, id_len, key_len })
    }

    /// The producer's own identity.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.bytes[..usize::from(self.id_len)]
    }

    /// What order is kept by.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        let start = usize::from(self.id_len);
        &self.bytes[start..start + usize::from(self.key_len)]
    }

    /// What the producer sent, unread.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.id_len) + usize::from(self.key_len)..]
    }

    /// All three parts, one after the other.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Event {
    /// The payload holds card numbers: only its length is ever printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &String::from_utf8_lossy(self.id()))
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

fn check(id_len: usize, key_len: usize, payload_len: usize) -> Result<(), Error> {
    if id_len == 0 || id_len > ID_BYTES_MAX {
        return Err(Error::Id(id_len));
    }
    if key_len > KEY_BYTES_MAX {
        return Err(Error::Key(key_len));
    }
    if payload_len > PAYLOAD_BYTES_MAX {
        return Err(Error::Payload(payload_len));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_were_put_in() {
        let event = Event::new(b"tx-1", b"card", b"{}").unwrap();
        assert_eq!(
            (event.id(), event.key(), event.payload()),
            (&b"tx-1"[..], &b"card"[..], &b"{}"[..])
        );
    }

    #[test]
    fn bounds_are_refused_at_one_past() {
        assert!(Event::new(&[b'x'; 64], &[b'k'; 64], &vec![0; PAYLOAD_BYTES_MAX]).is_ok());
        assert_eq!(Event::new(b"", b"", b""), Err(Error::Id(0)));
        assert_eq!(Event::new(&[b'x'; 65], b"", b""), Err(Error::Id(65)));
        assert_eq!(Event::new(b"x", &[b'k'; 65], b""), Err(Error::Key(65)));
        let long = vec![0; PAYLOAD_BYTES_MAX + 1];
        assert_eq!(Event::new(b"x", b"", &long), Err(Error::Payload(PAYLOAD_BYTES_MAX + 1)));
    }

    #[test]
    fn parts_longer_than_the_bytes_are_refused() {
        let got = Event::from_parts(Bytes::from_static(b"abc"), 2, 2);
        assert_eq!(got, Err(Error::Parts { id_len: 2, key_len: 2, len: 3 }));
    }

    #[test]
    fn debug_output_holds_no_payload() {
        let event = Event::new(b"tx-1", b"4000123412341234", b"4000123412341234").unwrap();
        assert!(!format!("{event:?}").contains("4000123412341234"));
    }
}
