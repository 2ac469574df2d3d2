//! Rewriting damaged segments without their damage.

use std::path::Path;

use crate::fs::{Fs, write_all_at};
use crate::log::Held;
use crate::record::{self, Entry};
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::{Error, Recovery};

/// What was mended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What opening found.
    pub recovery: Recovery,
    /// Segments rewritten.
    pub rewritten: u64,
    /// Valid records carried over.
    pub records: u64,
}

/// Recovers the log, as opening does, and then rewrites each segment that holds damage so that it
/// holds only its valid records. What was cut out stays in `quarantine/`. What is missing is reported
/// and then counts as done: it is not reported again.
///
/// `done` are numbers of records that are known to be done.
///
/// # Errors
/// As [`Held::open`], or if a segment can't be rewritten: the old one then stands.
pub fn repair(held: Held, done: &[u64]) -> Result<Report, Error> {
    let (fs, dir) = (held.fs.clone(), held.options.dir.clone());
    let (log, recovery) = held.open(done)?;
    let mut report = Report { recovery, ..Report::default() };
    let failed = |e| Error::io(format!("repair {}", dir.display()), &e);
    for path in fs.list(&dir).map_err(failed)? {
        let Some(base) = segment::base(&path) else { continue };
        let records = rewrite(&*fs, &dir, &path, base).map_err(failed)?;
        report.rewritten += u64::from(records.is_some());
        report.records += records.unwrap_or(0);
    }
    let mut checkpoint = report.recovery.checkpoint.clone();
    if checkpoint.mark(report.recovery.gaps.iter().copied()) > 0 {
        log.write_checkpoint(&checkpoint)?;
    }
    // Its catalog still describes the segments as they were: nothing may be read through it.
    drop(log);
    Ok(report)
}

fn rewrite(fs: &dyn Fs, dir: &Path, path: &Path, base: u64) -> std::io::Result<Option<u64>> {
    let file = fs.open(path, false)?;
    let scan = segment::scan(&*file, base, 0, |_, _, _| {})?;
    // Opening has cut off what the last segment ended in; the others are not cut.
    if scan.damage.is_empty() && scan.torn() == 0 {
        return Ok(None);
    }
    let draft = segment::draft(path);
    let copy = fs.open(&draft, true)?;
    copy.set_len(0)?;
    let mut pending = segment::header(base).to_vec();
    debug_assert_eq!(pending.len() as u64, SEGMENT_HEADER_BYTES);
    let (mut written, mut trouble) = (0, Ok(()));
    let scan = segment::scan(&*file, base, 0, |header, _, body| {
        let entry = Entry {
            kind: header.kind,
            at_ms: header.at_ms,
            id_len: header.id_len,
            key_len: header.key_len,
            body,
        };
        record::encode(&mut pending, header.seq, header.flags, &entry);
        if pending.len() > 1 << 20 && trouble.is_ok() {
            trouble = write_all_at(&*copy, &pending, written);
            written += pending.len() as u64;
            pending.clear();
        }
    })?;
    trouble?;
    write_all_at(&*copy, &pending, written)?;
    copy.sync_data()?;
    fs.rename(&draft, path)?;
    fs.sync_dir(dir)?;
    Ok(Some(scan.records))
}
