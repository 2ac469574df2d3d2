//! Whatever lies in a segment, decoding never panics, never reads past the bytes given, and never
//! takes damaged bytes for a record.
#![no_main]

use journal::record::{self, BODY_BYTES_MAX, Decoded, Entry, HEADER_BYTES};
use libfuzzer_sys::fuzz_target;

/// Bytes of the input that choose a record's fields and the damage; the rest are bodies.
const CHOICES: usize = 16;
/// Where in a record its length lies.
const LENGTH: std::ops::Range<usize> = 4..8;

fuzz_target!(|bytes: &[u8]| {
    raw(bytes);
    if let Some((choices, bodies)) = bytes.split_first_chunk::<CHOICES>() {
        written(choices, bodies);
    }
});

/// Bytes from anywhere.
fn raw(bytes: &[u8]) {
    match record::decode(bytes) {
        Decoded::Record(header) => {
            assert!(header.total() <= bytes.len());
            assert!(usize::from(header.id_len) + usize::from(header.key_len) <= header.body_len);
            let body = &bytes[HEADER_BYTES..header.total()];
            let entry = entry(header.kind, header.at_ms, (header.id_len, header.key_len), body);
            let mut again = Vec::new();
            record::encode(&mut again, header.seq, header.flags, &entry);
            assert_eq!(record::decode(&again), Decoded::Record(header));
        }
        Decoded::Short(needed) => {
            assert!(needed > bytes.len() && needed <= HEADER_BYTES + BODY_BYTES_MAX);
        }
        Decoded::Bad => {}
    }
    if let Some((at, header)) = record::find(bytes, 0, 0) {
        assert_eq!(record::decode(&bytes[at..]), Decoded::Record(header));
    }
}

/// Two records as the journal writes them, then one byte of the first damaged: a checksum can't be
/// guessed by a fuzzer, so this is how it gets behind one.
fn written(choices: &[u8; CHOICES], bodies: &[u8]) {
    let [kind, flags, id_len, key_len, split, cut, place_low, place_high, mask, ..] = *choices;
    let seq = u64::from_le_bytes([1, 0, choices[9], choices[10], choices[11], 0, 0, 0]);
    let bodies = &bodies[..bodies.len().min(BODY_BYTES_MAX)];
    let (first, second) = bodies.split_at(bodies.len() * usize::from(split) / 255);
    let at_ms = i64::from_le_bytes([choices[12]; 8]);
    let first = entry(kind, at_ms, lengths(id_len, key_len, first), first);
    let second = entry(kind, at_ms, lengths(key_len, id_len, second), second);

    let mut segment = Vec::new();
    record::encode(&mut segment, seq, flags, &first);
    let boundary = segment.len();
    record::encode(&mut segment, seq + 1, flags, &second);

    let Decoded::Record(header) = record::decode(&segment) else { panic!("the first is lost") };
    assert_eq!((header.seq, header.kind, header.flags), (seq, kind, flags));
    assert_eq!((header.at_ms, header.total()), (at_ms, boundary));
    assert_eq!((header.id_len, header.key_len), (first.id_len, first.key_len));
    assert!(matches!(record::decode(&segment[boundary..]), Decoded::Record(_)));

    // Cut short anywhere, the first is asked for in full, and never taken for whole.
    let cut = boundary * usize::from(cut) / 256;
    assert!(matches!(record::decode(&segment[..cut]), Decoded::Short(needed) if needed > cut));

    let place = usize::from(u16::from_le_bytes([place_low, place_high])) % boundary;
    segment[place] ^= mask.max(1);
    // One wrong byte always shows in the checksum, except in the length: that moves the end of what
    // is summed, and then a wrong sum is only all but certain.
    if LENGTH.contains(&place) {
        return;
    }
    assert!(!matches!(record::decode(&segment), Decoded::Record(_)), "damage was not noticed");
    // A body may itself hold a record, so the search may stop before the second, never behind it.
    let (at, _) = record::find(&segment, 0, seq).expect("the second is still there");
    assert!(at > 0 && at <= boundary);
}

fn entry(kind: u8, at_ms: i64, (id_len, key_len): (u8, u8), body: &[u8]) -> Entry<'_> {
    Entry { kind, at_ms, id_len, key_len, body }
}

/// Lengths of id and key that fit in the body.
fn lengths(id_len: u8, key_len: u8, body: &[u8]) -> (u8, u8) {
    let room = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let id_len = id_len.min(room);
    (id_len, key_len.min(room - id_len))
}
