//! Looking at a journal without taking it: works while another process has it open.
//!
//! Nothing is changed. What the other process is writing just now may look like a torn tail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use buffer::{DeadLetter, Error};
use journal::checkpoint::Checkpoint;
use journal::fs::Fs;
use journal::fs::disk::Disk;
use journal::record::{Header, Record};
use journal::segment::{self, Damage};
use journal::{KeyId, Keys, encryption};
use model::Event;

use crate::Options;
use crate::dead;
use crate::event::event_of;
use crate::options::DEAD;

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
    /// The key that its records are encrypted with, if they are.
    pub key: Option<KeyId>,
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
    /// Acknowledged events that are known to be gone.
    pub missing: u64,
    /// The last process closed the journal, so that `missing` is exact. Otherwise events accepted
    /// after the last checkpoint may be gone without a trace.
    pub end_known: bool,
    /// Segments of dead letters.
    pub dead_segments: Vec<Segment>,
    /// Dead letters, and notes that letters were dropped, that are gone.
    pub dead_missing: u64,
}

impl Stat {
    /// Whether anything acknowledged is damaged.
    #[must_use]
    pub fn damaged(&self) -> bool {
        self.missing + self.dead_missing > 0
            || damaged(&self.segments)
            || damaged(&self.dead_segments)
    }
}

/// Whether segments hold damage. What the last one ends in may be a write that is going on.
fn damaged(segments: &[Segment]) -> bool {
    let full = segments.len().saturating_sub(1);
    segments.iter().any(|segment| !segment.damage.is_empty())
        || segments[..full].iter().any(|segment| segment.torn_bytes > 0)
}

/// Reads everything, dead letters too, and checks every CRC. `progress` is told bytes read and bytes
/// in all.
///
/// # Errors
/// If the directory can't be read, or a key is missing.
pub fn verify(options: &Options, mut progress: impl FnMut(u64, u64)) -> Result<Stat, Error> {
    let (dir, keys) = (&*options.dir, keys(options)?);
    let before = checkpoint(dir)?;
    let total = total(dir)? + total(&dir.join(DEAD))?;
    let mut read = 0;
    let mut advance = |bytes| {
        read += bytes;
        progress(read, total);
    };
    let letters = letters(dir, keys.as_deref(), &mut advance)?;
    let mut known = before.clone();
    known.mark(letters.sources.iter().map(|seq| (*seq, seq + 1)));
    let mut stat = Stat {
        dead: letters.index.len() as u64,
        dead_missing: letters.missing,
        dead_segments: letters.segments,
        end_known: before.closed,
        ..Stat::default()
    };
    let looked = look(dir, &known, &mut advance, &mut |header, _, _| {
        if known.undone(header.seq, header.seq + 1) > 0 {
            stat.pending += 1;
            stat.oldest_accepted_ms.get_or_insert(header.at_ms);
        }
    })?;
    // A running process may have finished, and removed, what was not done when we began.
    let mut after = checkpoint(dir)?;
    after.mark(letters.sources.iter().map(|seq| (*seq, seq + 1)));
    stat.missing = looked.gaps.iter().map(|(from, to)| after.undone(*from, *to)).sum();
    stat.segments = looked.segments;
    Ok(stat)
}

/// What reading a log finds.
struct Looked {
    segments: Vec<Segment>,
    /// Numbers that were acknowledged, are not done and are not there.
    gaps: Vec<(u64, u64)>,
}

/// Reads the log in `dir`, of which `known` is done.
fn look(
    dir: &Path,
    known: &Checkpoint,
    advance: &mut dyn FnMut(u64),
    on_record: &mut dyn FnMut(&Header, u64, &[u8]),
) -> Result<Looked, Error> {
    let mut looked = Looked { segments: Vec::new(), gaps: Vec::new() };
    let past_done = known.done.last().map_or(0, |(_, end)| *end);
    let promised = known.next_seq.max(past_done);
    let (mut expected, bases) = (1, bases(dir)?);
    for &base in &bases {
        let mut key = None;
        let scanned = scan(dir, base, expected, &mut |header, offset, body| {
            key = key.or_else(|| encryption::key_id(header, body));
            on_record(header, offset, body);
        })?;
        let Some((scan, bytes)) = scanned else { continue };
        looked.gaps.push((expected, base));
        let last = bases.last() == Some(&base);
        looked.gaps.extend(scan.damage.iter().map(|damage| {
            let (from, to) = damage.missing;
            // What no later group and no checkpoint vouches for may never have been acknowledged.
            let vouched = damage.acknowledged || !last;
            (from, if vouched { to } else { promised.clamp(from, to) })
        }));
        looked.segments.push(Segment {
            base,
            bytes,
            used_bytes: scan.end,
            records: scan.records,
            torn_bytes: scan.torn(),
            key,
            damage: scan.damage,
        });
        expected = scan.next_seq.max(expected);
        advance(bytes);
    }
    looked.gaps.push((expected, promised));
    looked.gaps.retain(|(from, to)| known.undone(*from, *to) > 0);
    Ok(looked)
}

/// Calls `on_event` for each event with its number, when it was accepted, and whether it is done,
/// in order, until that returns false.
///
/// # Errors
/// If the directory can't be read, or a key is missing.
pub fn events(
    options: &Options,
    mut on_event: impl FnMut(u64, i64, bool, &Event) -> bool,
) -> Result<(), Error> {
    let (dir, keys) = (&*options.dir, keys(options)?);
    let mut known = checkpoint(dir)?;
    known.mark(
        letters(dir, keys.as_deref(), &mut |_| {})?.sources.iter().map(|seq| (*seq, seq + 1)),
    );
    let mut more = true;
    for base in bases(dir)? {
        if !more {
            break;
        }
        scan(dir, base, 0, &mut |header, offset, body| {
            if !more {
                return;
            }
            let done = known.undone(header.seq, header.seq + 1) == 0;
            let record = record(keys.as_deref(), header, offset, body);
            if let Some(event) = record.and_then(event_of) {
                more = on_event(header.seq, header.at_ms, done, &event);
            }
        })?;
    }
    Ok(())
}

/// The dead letters, in order.
///
/// # Errors
/// If the directory can't be read, or a key is missing.
pub fn dead(options: &Options) -> Result<Vec<DeadLetter>, Error> {
    let keys = keys(options)?;
    let mut there = BTreeMap::new();
    let letters = letters_of(&options.dir, keys.as_deref(), &mut |_| {}, &mut |record| {
        if let Some(letter) = dead::decode(record) {
            there.insert(letter.seq, letter);
        }
    })?;
    there.retain(|seq, _| letters.index.contains_key(seq));
    Ok(there.into_values().collect())
}

/// What the log of dead letters holds.
#[derive(Default)]
struct Letters {
    index: BTreeMap<u64, (u32, u32)>,
    /// Numbers of the events that are buried.
    sources: Vec<u64>,
    segments: Vec<Segment>,
    missing: u64,
}

/// The keys, which are those of all that is there and not done.
fn keys(options: &Options) -> Result<Option<Arc<Keys>>, Error> {
    let keys = options.key.read()?;
    let check = |log| encryption::check(&Disk, &log).map_err(|e| Error::Open(e.to_string()));
    check(options.events_log(keys.clone()))?;
    check(options.dead_log(keys.clone()))?;
    Ok(keys)
}

fn letters(
    dir: &Path,
    keys: Option<&Keys>,
    advance: &mut dyn FnMut(u64),
) -> Result<Letters, Error> {
    letters_of(dir, keys, advance, &mut |_| {})
}

fn letters_of(
    dir: &Path,
    keys: Option<&Keys>,
    advance: &mut dyn FnMut(u64),
    on_record: &mut dyn FnMut(&Record),
) -> Result<Letters, Error> {
    let dir = dir.join(DEAD);
    if !dir.is_dir() {
        return Ok(Letters::default());
    }
    let known = checkpoint(&dir)?;
    let (mut letters, mut dropped) = (Letters::default(), Vec::new());
    let looked = look(&dir, &known, advance, &mut |header, offset, body| {
        if header.seq < known.floor {
            return;
        }
        let Some(record) = record(keys, header, offset, body) else { return };
        dead::note(&mut letters.index, &record);
        letters.sources.extend(dead::source(&record));
        dropped.extend(dead::dropped_by(&record));
        on_record(&record);
    })?;
    dead::retain_undone(&mut letters.index, &known);
    letters.missing = dead::undone(&checkpoint(&dir)?, &dropped, &looked.gaps);
    letters.segments = looked.segments;
    Ok(letters)
}

/// A record with its content. `None` where it is not what its key encrypted; whether the key is there
/// was looked at before.
fn record(keys: Option<&Keys>, header: &Header, offset: u64, body: &[u8]) -> Option<Record> {
    let body = encryption::decrypt(keys, header, bytes::Bytes::copy_from_slice(body));
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    Some(Record::new(header, offset, body.ok()??))
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

/// Bytes of all segments in `dir`; none where it is not there.
fn total(dir: &Path) -> Result<u64, Error> {
    if !dir.is_dir() {
        return Ok(0);
    }
    Ok(bases(dir)?.into_iter().map(|base| length(dir, base)).sum())
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
