//! Looking at a journal without taking it: works while another process has it open.
//!
//! Nothing is changed. What the other process is writing just now may look like a torn tail.

use std::collections::BTreeMap;
use std::path::Path;

use buffer::{DeadLetter, Error};
use journal::checkpoint::Checkpoint;
use journal::fs::Fs;
use journal::fs::disk::Disk;
use journal::record::{Header, Record};
use journal::segment::{self, Damage};
use model::Event;

use crate::dead;
use crate::journal_buffer::event_of;

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its first number.
    pub base: u64,
    /// Bytes on disk, preallocated ones among them.
    pub bytes: u64,
    /// Bytes that hold records.
    pub used_bytes: u64,
    /// Valid records.
    pub records: u64,
    /// Stretches that hold none.
    pub damage: Vec<Damage>,
    /// Bytes behind the last record that are none.
    pub torn_bytes: u64,
}

/// A journal at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its segments.
    pub segments: Vec<Segment>,
    /// Events not done, as far as the last checkpoint knows (about a second old on a live journal).
    pub pending: u64,
    /// When the oldest of them was accepted.
    pub oldest_accepted_ms: Option<i64>,
    /// Dead letters.
    pub dead: u64,
    /// Acknowledged events that are gone.
    pub missing: u64,
}

impl Stat {
    /// Whether anything acknowledged is damaged.
    #[must_use]
    pub fn damaged(&self) -> bool {
        self.missing > 0 || self.segments.iter().any(|segment| !segment.damage.is_empty())
    }
}

/// Reads everything and checks every CRC. `progress` is told bytes read and bytes in all.
///
/// # Errors
/// If the directory can't be read.
pub fn verify(dir: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Stat, Error> {
    let checkpoint = progress_of(dir)?;
    let mut stat = Stat { dead: dead_count(dir)?, ..Stat::default() };
    let bases = bases(dir)?;
    let total = bases.iter().map(|base| length(dir, *base)).sum();
    let (mut read, mut expected) = (0, 0);
    for base in bases {
        let mut on_record = |header: &Header, _: u64, _: &[u8]| {
            if checkpoint.undone(header.seq, header.seq + 1) > 0 {
                stat.pending += 1;
                stat.oldest_accepted_ms.get_or_insert(header.at_ms);
            }
        };
        let Some((scan, bytes)) = scan(dir, base, expected, &mut on_record)? else { continue };
        stat.missing += checkpoint.undone(expected.max(1), base);
        for damage in &scan.damage {
            stat.missing += checkpoint.undone(damage.missing.0, damage.missing.1);
        }
        stat.segments.push(Segment {
            base,
            bytes,
            used_bytes: scan.end,
            records: scan.records,
            torn_bytes: scan.torn(),
            damage: scan.damage,
        });
        expected = scan.next_seq;
        read += bytes;
        progress(read, total);
    }
    stat.missing += checkpoint.undone(expected.max(1), checkpoint.next_seq);
    Ok(stat)
}

/// Calls `on_event` for each event with its number, when it was accepted, and whether it is done,
/// in order, until that returns false.
///
/// # Errors
/// If the directory can't be read.
pub fn events(
    dir: &Path,
    mut on_event: impl FnMut(u64, i64, bool, &Event) -> bool,
) -> Result<(), Error> {
    let checkpoint = progress_of(dir)?;
    let mut more = true;
    for base in bases(dir)? {
        if !more {
            break;
        }
        scan(dir, base, 0, &mut |header, offset, body| {
            let done = checkpoint.undone(header.seq, header.seq + 1) == 0;
            if let Some(event) = event_of(record(header, offset, body)).filter(|_| more) {
                more = on_event(header.seq, header.at_ms, done, &event);
            }
        })?;
    }
    Ok(())
}

/// The dead letters, in order.
///
/// # Errors
/// If the directory can't be read.
pub fn dead(dir: &Path) -> Result<Vec<DeadLetter>, Error> {
    let (mut index, mut letters) = (BTreeMap::new(), BTreeMap::new());
    dead_records(dir, |record| {
        dead::note(&mut index, record);
        if let Some(letter) = dead::decode(record) {
            letters.insert(letter.seq, letter);
        }
    })?;
    letters.retain(|seq, _| index.contains_key(seq));
    Ok(letters.into_values().collect())
}

/// How many dead letters there are, without holding them.
fn dead_count(dir: &Path) -> Result<u64, Error> {
    let mut index = BTreeMap::new();
    dead_records(dir, |record| dead::note(&mut index, record))?;
    Ok(index.len() as u64)
}

fn dead_records(dir: &Path, mut on_record: impl FnMut(&Record)) -> Result<(), Error> {
    let dir = dir.join("dead");
    if !dir.is_dir() {
        return Ok(());
    }
    let floor = checkpoint(&dir)?.floor;
    for base in bases(&dir)? {
        scan(&dir, base, 0, &mut |header, offset, body| {
            if header.seq >= floor {
                on_record(&record(header, offset, body));
            }
        })?;
    }
    Ok(())
}

/// The checkpoint, and what is buried, which is done even where the checkpoint does not say so yet.
fn progress_of(dir: &Path) -> Result<Checkpoint, Error> {
    let mut progress = checkpoint(dir)?;
    let mut buried = Vec::new();
    dead_records(dir, |record| buried.extend(dead::source(record)))?;
    progress.mark(buried);
    Ok(progress)
}

fn record(header: &Header, offset: u64, body: &[u8]) -> Record {
    Record {
        seq: header.seq,
        kind: header.kind,
        at_ms: header.at_ms,
        id_len: header.id_len,
        key_len: header.key_len,
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        body: bytes::Bytes::copy_from_slice(body),
    }
}

fn checkpoint(dir: &Path) -> Result<Checkpoint, Error> {
    if !dir.is_dir() {
        return Err(Error::Open(format!("there is no journal in {}", dir.display())));
    }
    let read = Checkpoint::read(&Disk, dir).map_err(|e| Error::Open(e.to_string()))?;
    Ok(read.unwrap_or_default())
}

fn bases(dir: &Path) -> Result<Vec<u64>, Error> {
    let failed = |e| Error::Open(format!("list {}: {e}", dir.display()));
    let paths = Disk.list(dir).map_err(failed)?;
    let mut bases: Vec<u64> = paths.iter().filter_map(|path| segment::base(path)).collect();
    bases.sort_unstable();
    Ok(bases)
}

fn length(dir: &Path, base: u64) -> u64 {
    std::fs::metadata(segment::path(dir, base)).map_or(0, |meta| meta.len())
}

/// `None` when the segment was removed meanwhile: all of it was done.
fn scan(
    dir: &Path,
    base: u64,
    expected: u64,
    on_record: &mut dyn FnMut(&Header, u64, &[u8]),
) -> Result<Option<(segment::Scan, u64)>, Error> {
    let path = segment::path(dir, base);
    let failed = |e| Error::Open(format!("read {}: {e}", path.display()));
    let file = match Disk.open(&path, false) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let scan = segment::scan(&*file, base, expected, on_record).map_err(failed)?;
    let bytes = file.length().map_err(failed)?;
    Ok(Some((scan, bytes)))
}
