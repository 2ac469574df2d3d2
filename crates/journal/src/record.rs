//! One record: how it lies in a segment, and how it is read back from bytes nobody vouches for.

use bytes::Bytes;

/// Bytes of a record before its body.
pub const HEADER_BYTES: usize = 32;
/// The longest body: three parts of an event and some room for what a dead letter adds.
pub const BODY_BYTES_MAX: usize = 80 * 1024;
/// The first record of a group.
pub const FIRST: u8 = 1;
/// A record whose body is encrypted.
pub const ENCRYPTED: u8 = 2;

const MAGIC: u16 = 0xFB17;

/// What is to be appended. `id`, `key` and payload lie in `body`, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What the body means to whoever appends it.
    pub kind: u8,
    /// The caller's time, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Bytes of `body` that are the id.
    pub id_len: u8,
    /// Bytes of `body`, behind the id, that are the key.
    pub key_len: u8,
    /// At most [`BODY_BYTES_MAX`].
    pub body: &'a [u8],
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number, counted from 1 over the life of the log.
    pub seq: u64,
    /// As appended.
    pub kind: u8,
    /// As appended.
    pub at_ms: i64,
    /// As appended.
    pub id_len: u8,
    /// As appended.
    pub key_len: u8,
    /// Where it lies in its segment.
    pub offset: u32,
    /// How many bytes it takes there.
    pub bytes: u32,
    /// As appended.
    pub body: Bytes,
}

/// The fixed part of a record whose CRC held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its number.
    pub seq: u64,
    /// As appended.
    pub kind: u8,
    /// [`FIRST`] and [`ENCRYPTED`], where they hold.
    pub flags: u8,
    /// As appended.
    pub at_ms: i64,
    /// As appended.
    pub id_len: u8,
    /// As appended.
    pub key_len: u8,
    /// Bytes of the body.
    pub body_len: usize,
}

impl Header {
    /// Bytes of the whole record.
    #[must_use]
    pub fn total(&self) -> usize {
        HEADER_BYTES + self.body_len
    }
}

/// What the bytes at a place are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// A record whose CRC holds.
    Record(Header),
    /// The beginning of what may be a record: so many bytes are needed to tell.
    Short(usize),
    /// Not a record.
    Bad,
}

/// Appends the record to `into`.
pub fn encode(into: &mut Vec<u8>, seq: u64, flags: u8, entry: &Entry<'_>) {
    let start = into.len();
    debug_assert!(entry.body.len() <= BODY_BYTES_MAX, "bounded by the caller");
    let len = u32::try_from(entry.body.len()).expect("bounded by BODY_BYTES_MAX");
    let mut header = [0u8; HEADER_BYTES];
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[8..10].copy_from_slice(&MAGIC.to_le_bytes());
    header[10] = entry.kind;
    header[11] = flags;
    header[12..20].copy_from_slice(&seq.to_le_bytes());
    header[20..28].copy_from_slice(&entry.at_ms.to_le_bytes());
    header[28] = entry.id_len;
    header[29] = entry.key_len;
    into.extend_from_slice(&header);
    into.extend_from_slice(entry.body);
    seal(&mut into[start..]);
}

fn seal(record: &mut [u8]) {
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads what lies at the beginning of `bytes`. Never panics, whatever the bytes.
#[must_use]
#[inline]
pub fn decode(bytes: &[u8]) -> Decoded {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Decoded::Short(HEADER_BYTES);
    };
    let body_len = u32_at(header, 4) as usize;
    let (id_len, key_len) = (header[28], header[29]);
    let parts = usize::from(id_len) + usize::from(key_len);
    if u16::from_le_bytes([header[8], header[9]]) != MAGIC
        || body_len > BODY_BYTES_MAX
        || parts > body_len
    {
        return Decoded::Bad;
    }
    let total = HEADER_BYTES + body_len;
    let Some(record) = bytes.get(..total) else {
        return Decoded::Short(total);
    };
    if crc32fast::hash(&record[4..]) != u32_at(header, 0) {
        return Decoded::Bad;
    }
    Decoded::Record(Header {
        seq: u64_at(header, 12),
        kind: header[10],
        flags: header[11],
        at_ms: u64_at(header, 20).cast_signed(),
        id_len,
        key_len,
        body_len,
    })
}

/// Where the next record of `seq` or later begins in `bytes`, from `from` on. Looks at every byte:
/// after damage nothing is known of alignment.
#[must_use]
pub fn find(bytes: &[u8], from: usize, seq: u64) -> Option<(usize, Header)> {
    let [low, high] = MAGIC.to_le_bytes();
    let mut at = from;
    while at + HEADER_BYTES <= bytes.len() {
        if bytes[at + 8] == low
            && bytes[at + 9] == high
            && let Decoded::Record(header) = decode(&bytes[at..])
            && header.seq >= seq
        {
            return Some((at, header));
        }
        at += 1;
    }
    None
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(seq: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let entry = Entry { kind: 1, at_ms: -5, id_len: 2, key_len: 1, body };
        encode(&mut bytes, seq, FIRST, &entry);
        bytes
    }

    #[test]
    fn a_record_comes_back_as_it_was_appended() {
        let bytes = encoded(7, b"idk{}");
        let Decoded::Record(header) = decode(&bytes) else { panic!("not a record") };
        assert_eq!((header.seq, header.at_ms, header.kind, header.flags), (7, -5, 1, FIRST));
        assert_eq!((header.id_len, header.key_len, header.total()), (2, 1, bytes.len()));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = encoded(7, b"idk{}");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let longer = [damaged, vec![0; BODY_BYTES_MAX + 1]].concat();
            assert_eq!(decode(&longer), Decoded::Bad, "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_not_a_record() {
        assert_eq!(decode(&[0; 64]), Decoded::Bad);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = find(&bytes, 0, 0);
        }

        #[test]
        fn a_record_is_found_behind_anything(
            noise in proptest::collection::vec(any::<u8>(), 0..100), seq in 5u64..9
        ) {
            let mut bytes = noise.clone();
            bytes.extend(encoded(seq, b"idk"));
            prop_assert_eq!(find(&bytes, 0, 5).map(|(at, h)| (at, h.seq)), Some((noise.len(), seq)));
            prop_assert_eq!(find(&bytes, 0, 10), None);
        }
    }
}
