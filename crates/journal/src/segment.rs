//! One segment: its name, its header, and what a scan finds in it.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{File, read_full_at};
use crate::record::{self, BODY_BYTES_MAX, Decoded, FIRST, HEADER_BYTES, Header};

/// Bytes before the first record.
pub const SEGMENT_HEADER_BYTES: u64 = HEADER_LEN as u64;

const HEADER_LEN: usize = 24;
const MAGIC: &[u8; 8] = b"FOREBAY1";
const SUFFIX: &str = ".seg";
/// How the name of a segment ends while a repair rewrites it.
const DRAFT: &str = "seg.new";
/// Bytes read at once: more than the largest record, and little enough to stay in a core's cache
/// between the copy and the CRC.
pub(crate) const CHUNK_BYTES: usize = 128 * 1024;
pub(crate) const RECORD_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;

/// The path of the segment that begins with `base`.
#[must_use]
pub fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}{SUFFIX}"))
}

/// The first sequence number of the segment with this path, if it is one.
#[must_use]
pub fn base(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Where a repair rewrites the segment with this path.
pub(crate) fn draft(path: &Path) -> PathBuf {
    path.with_extension(DRAFT)
}

/// Whether a repair that did not end left this file.
pub(crate) fn is_draft(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(DRAFT))
}

/// The bytes a segment begins with.
#[must_use]
pub fn header(base: u64) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&base.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A stretch of a segment that holds no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// The sequence numbers missing there, half-open.
    pub missing: (u64, u64),
    /// Whether later groups prove that what was there had been acknowledged.
    pub acknowledged: bool,
}

/// What a segment holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Valid records.
    pub records: u64,
    /// One past the last sequence number seen; the segment's base when there are no records.
    pub next_seq: u64,
    /// One past the last byte of the last valid record.
    pub end: u64,
    /// Stretches without records between valid ones.
    pub damage: Vec<Damage>,
    /// One past the last byte, behind `end`, that is not zero: a torn tail. Equal to `end` when
    /// there is none.
    pub tail_end: u64,
}

impl Scan {
    /// Bytes behind the last valid record that were written and are not a record.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.tail_end - self.end
    }
}

/// Reads a whole segment in bounded memory and calls `on_record` for each valid record with its
/// offset and body.
///
/// `expected` is the sequence number that should come first: the one after the last known record.
///
/// # Errors
/// If the file can't be read.
pub fn scan(
    file: &dyn File,
    base: u64,
    expected: u64,
    mut on_record: impl FnMut(&Header, u64, &[u8]),
) -> io::Result<Scan> {
    let len = file.length()?;
    let mut scan = Scan { next_seq: base, ..Scan::default() };
    let mut expected = expected.max(base);
    let mut at = SEGMENT_HEADER_BYTES.min(len);
    scan.end = at;
    scan.tail_end = at;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        let got = read_full_at(file, &mut chunk, CHUNK_BYTES, at)?;
        let mut used = 0;
        while let Decoded::Record(header) = record::decode(&chunk[used..])
            && header.seq >= expected
        {
            let body = &chunk[used + HEADER_BYTES..used + header.total()];
            on_record(&header, at + used as u64, body);
            used += header.total();
            scan.records += 1;
            expected = header.seq + 1;
            if header.flags & FIRST != 0 {
                scan.damage.iter_mut().for_each(|d| d.acknowledged = true);
            }
        }
        at += used as u64;
        if scan.records > 0 {
            scan.next_seq = expected;
            scan.end = at;
            scan.tail_end = at;
        }
        let torn_record = matches!(record::decode(&chunk[used..]), Decoded::Short(_));
        if used > 0 && torn_record && got == CHUNK_BYTES {
            continue;
        }
        match resync(file, at, len, expected)? {
            // Where a process writes while we read, what was half there a moment ago is whole now.
            Resync { next: Some(_), .. } if is_record(file, at, expected)? => {}
            Resync { next: Some((offset, header)), .. } => {
                scan.damage.push(Damage {
                    start: at,
                    end: offset,
                    missing: (expected, header.seq),
                    acknowledged: false,
                });
                expected = header.seq;
                at = offset;
            }
            Resync { next: None, written_end } => {
                scan.tail_end = written_end.max(scan.end);
                return Ok(scan);
            }
        }
    }
}

/// Whether a record of `expected` or later lies at `at` by now.
fn is_record(file: &dyn File, at: u64, expected: u64) -> io::Result<bool> {
    let mut bytes = Vec::with_capacity(RECORD_BYTES_MAX);
    read_full_at(file, &mut bytes, RECORD_BYTES_MAX, at)?;
    Ok(matches!(record::decode(&bytes), Decoded::Record(header) if header.seq >= expected))
}

/// What lies behind a place where no record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resync {
    /// The next record of `seq` or later.
    pub(crate) next: Option<(u64, Header)>,
    /// One past the last byte that is not zero.
    pub(crate) written_end: u64,
}

/// Looks for the next record numbered `seq` or later from `from` on, in bounded memory.
pub(crate) fn resync(file: &dyn File, from: u64, len: u64, seq: u64) -> io::Result<Resync> {
    let mut written_end = from;
    let mut at = from;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    while at < len {
        chunk.clear();
        let got = read_full_at(file, &mut chunk, CHUNK_BYTES, at)?;
        if got == 0 {
            break;
        }
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            written_end = written_end.max(at + last as u64 + 1);
            if let Some((offset, header)) = record::find(&chunk, 0, seq) {
                return Ok(Resync { next: Some((at + offset as u64, header)), written_end });
            }
        }
        // A record may begin in this chunk and end in the next: step back by the longest one.
        let last_chunk = got < CHUNK_BYTES;
        at += if last_chunk { got } else { CHUNK_BYTES - RECORD_BYTES_MAX } as u64;
    }
    Ok(Resync { next: None, written_end })
}
