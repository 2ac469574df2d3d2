//! What opening a log finds, and what it does about it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::catalog::{Catalog, Segment};
use crate::checkpoint::Checkpoint;
use crate::fs::Fs;
use crate::segment::{self, Scan};
use crate::{Error, quarantine};

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The checkpoint that was found, or an empty one, with what the caller knows to be done.
    pub checkpoint: Checkpoint,
    /// Valid records that the checkpoint does not mark done.
    pub records: u64,
    /// Bytes cut off the end that no checkpoint vouches for: an unfinished group, or damage to
    /// records that were acknowledged after the last checkpoint.
    pub torn_bytes: u64,
    /// Bytes quarantined: damage to what had been acknowledged.
    pub damaged_bytes: u64,
    /// Records, not marked done, that are known to have been acknowledged and are gone.
    pub missing: u64,
    /// Where these lie, as half-open ranges; some of the numbers in them may be done.
    pub gaps: Vec<(u64, u64)>,
    /// Records, not marked done, that are gone and may have been acknowledged.
    pub doubtful: u64,
    /// Records that the caller knows to be done and that lie past the end of the log.
    pub ahead: u64,
    /// The log was closed in order, so that what is missing is all that is missing. Otherwise
    /// records acknowledged after the last checkpoint may be gone without a trace.
    pub end_known: bool,
}

impl Recovery {
    /// Reads the log in `dir`, cuts off its torn tail, quarantines what is damaged, and removes what
    /// is done. True if the checkpoint in the result says more than the one on the medium, and must
    /// be written before anything is appended.
    pub(crate) fn run(
        fs: &dyn Fs,
        dir: &Path,
        mut checkpoint: Checkpoint,
        done: &[u64],
    ) -> Result<(Catalog, Self, bool), Error> {
        let (closed, none) = (checkpoint.closed, checkpoint == Checkpoint::default());
        // What is done was acknowledged before, and all numbers below it were, too.
        let past_done = done.iter().max().map_or(0, |last| last + 1);
        let promised = checkpoint.next_seq.max(past_done).max(1);
        let marked = promised > checkpoint.next_seq.max(1);
        checkpoint.mark(done.iter().map(|seq| (*seq, seq + 1)));
        (checkpoint.next_seq, checkpoint.closed) = (promised, false);
        let mut work = Work {
            fs,
            dir,
            catalog: Catalog { segments: BTreeMap::new(), next_seq: promised, writing: None },
            recovery: Self { checkpoint, ..Self::default() },
            expected: 0,
            marked,
        };
        work.segments().map_err(|e| Error::io(format!("recover {}", dir.display()), &e))?;
        // What lies below the floor may have been removed.
        let end = work.expected.max(work.recovery.checkpoint.floor).max(1);
        work.gone(end, promised);
        let Work { mut catalog, mut recovery, marked, expected, .. } = work;
        recovery.end_known = closed || (none && expected == 0);
        recovery.ahead = done.iter().filter(|seq| **seq >= end).count() as u64;
        catalog.next_seq = promised.max(end);
        recovery.checkpoint.next_seq = catalog.next_seq;
        Ok((catalog, recovery, marked))
    }
}

/// A recovery under way.
struct Work<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    catalog: Catalog,
    recovery: Recovery,
    /// One past the last number found so far; 0 before the first.
    expected: u64,
    /// The checkpoint was added to.
    marked: bool,
}

impl Work<'_> {
    fn segments(&mut self) -> io::Result<()> {
        let paths = self.fs.list(self.dir)?;
        for draft in paths.iter().filter(|path| segment::is_draft(path)) {
            self.fs.remove(draft)?;
        }
        let mut bases: Vec<u64> = paths.iter().filter_map(|path| segment::base(path)).collect();
        bases.sort_unstable();
        for (n, &base) in bases.iter().enumerate() {
            let next = bases.get(n + 1).copied();
            if next.is_some_and(|next| next <= self.recovery.checkpoint.floor) {
                // The process died between writing the checkpoint and removing this.
                self.fs.remove(&segment::path(self.dir, base))?;
                continue;
            }
            self.segment(base, next.is_none())?;
        }
        Ok(())
    }

    fn segment(&mut self, base: u64, last: bool) -> io::Result<()> {
        let path = segment::path(self.dir, base);
        let file = self.fs.open(&path, false)?;
        let checkpoint = &self.recovery.checkpoint;
        let mut undone = 0;
        let scan = segment::scan(&*file, base, self.expected, |header, _, _| {
            undone += checkpoint.undone(header.seq, header.seq + 1);
        })?;
        self.recovery.records += undone;
        // Numbers that lie between the last segment's records, or what is done, and this segment.
        self.gone(self.expected.max(1), base);
        let kept = self.damage(base, &*file, &scan, last);
        self.expected = scan.next_seq;
        let done = scan.next_seq <= self.recovery.checkpoint.floor;
        if scan.records == 0 || done {
            if kept {
                self.fs.remove(&path)?;
            }
            return Ok(());
        }
        if last && kept {
            file.set_len(scan.end)?;
            file.sync_data()?;
        }
        let segment = Segment { file, end: scan.end, next_seq: scan.next_seq };
        self.catalog.segments.insert(base, segment);
        Ok(())
    }

    /// Counts the numbers `from..to` as acknowledged and gone, but for those that are done.
    fn gone(&mut self, from: u64, to: u64) {
        let missing = self.recovery.checkpoint.undone(from, to);
        if missing > 0 {
            self.recovery.missing += missing;
            self.recovery.gaps.push((from, to));
        }
    }

    /// Counts and copies what can't be read. False if a copy failed: the bytes must then stay.
    fn damage(&mut self, base: u64, file: &dyn crate::fs::File, scan: &Scan, last: bool) -> bool {
        let promised = self.recovery.checkpoint.next_seq;
        let mut kept = true;
        for damage in &scan.damage {
            kept &= quarantine::keep(self.fs, self.dir, base, file, damage.start, damage.end);
            let (from, to) = damage.missing;
            let certain = if damage.acknowledged || !last { to } else { promised.clamp(from, to) };
            self.gone(from, certain);
            if certain > from {
                self.recovery.damaged_bytes += damage.end - damage.start;
            } else {
                self.recovery.torn_bytes += damage.end - damage.start;
            }
            // Once there are segments behind it, the rest will look as if it had been acknowledged:
            // so it is written down now that this is not known.
            let doubtful = self.recovery.checkpoint.mark([(certain, to)]);
            self.recovery.doubtful += doubtful;
            self.marked |= doubtful > 0;
        }
        if scan.torn() > 0 {
            kept &= quarantine::keep(self.fs, self.dir, base, file, scan.end, scan.tail_end);
            let recovery = &mut self.recovery;
            let certain = !last || promised > scan.next_seq;
            let place =
                if certain { &mut recovery.damaged_bytes } else { &mut recovery.torn_bytes };
            *place += scan.torn();
        }
        kept
    }
}
