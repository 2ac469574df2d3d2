//! What opening a log finds, and what it does about it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::fs::Fs;
use crate::log::{Catalog, Segment};
use crate::segment::{self, Scan};
use crate::{Error, quarantine};

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The checkpoint that was found, or an empty one.
    pub checkpoint: Checkpoint,
    /// Valid records that the checkpoint does not mark done.
    pub records: u64,
    /// Bytes cut off the end: a group that was being written when the process died, and that
    /// nobody was told of.
    pub torn_bytes: u64,
    /// Bytes quarantined: damage to what had been acknowledged.
    pub damaged_bytes: u64,
    /// Acknowledged records, not marked done, that are gone.
    pub missing: u64,
}

impl Recovery {
    /// Reads the log in `dir`, cuts off its torn tail, quarantines what is damaged, and removes what
    /// is done. True if the checkpoint in the result says more than the one on the medium, and must
    /// be written before anything is appended.
    pub(crate) fn run(
        fs: &dyn Fs,
        dir: &Path,
        checkpoint: Checkpoint,
    ) -> Result<(Catalog, Self, bool), Error> {
        let next_seq = checkpoint.next_seq.max(1);
        let mut work = Work {
            fs,
            dir,
            catalog: Catalog { segments: BTreeMap::new(), next_seq },
            recovery: Self { checkpoint, ..Self::default() },
            expected: 0,
            marked: false,
        };
        work.segments().map_err(|e| Error::io(format!("recover {}", dir.display()), &e))?;
        let Work { mut catalog, mut recovery, expected, marked, .. } = work;
        let promised = recovery.checkpoint.next_seq;
        recovery.missing += recovery.checkpoint.undone(expected.max(1), promised);
        catalog.next_seq = catalog.next_seq.max(expected);
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
        // Numbers that lie between the last segment's records, or what is done, and this segment.
        self.recovery.missing += checkpoint.undone(self.expected.max(1), base);
        self.recovery.records += undone;
        let kept = self.damage(base, &*file, &scan, last);
        if scan.records == 0 {
            if kept {
                self.fs.remove(&path)?;
            }
            return Ok(());
        }
        if last && kept {
            file.set_len(scan.end)?;
            file.sync_data()?;
        }
        self.expected = scan.next_seq;
        let segment = Segment { file, end: scan.end, next_seq: scan.next_seq };
        self.catalog.segments.insert(base, segment);
        Ok(())
    }

    /// Counts and copies what can't be read. False if a copy failed: the bytes must then stay.
    fn damage(&mut self, base: u64, file: &dyn crate::fs::File, scan: &Scan, last: bool) -> bool {
        let recovery = &mut self.recovery;
        let mut kept = true;
        for damage in &scan.damage {
            kept &= quarantine::keep(self.fs, self.dir, base, file, damage.start, damage.end);
            if damage.acknowledged || !last {
                recovery.damaged_bytes += damage.end - damage.start;
                recovery.missing += recovery.checkpoint.undone(damage.missing.0, damage.missing.1);
            } else {
                // Pages of the last group, lost while a later one of it was kept. Once there are
                // segments behind it, it will look as if it had been acknowledged: so it is written
                // down now that nothing is missing there.
                recovery.torn_bytes += damage.end - damage.start;
                let (from, to) = damage.missing;
                self.marked |= recovery.checkpoint.mark(from..to) > 0;
            }
        }
        if scan.torn() > 0 {
            kept &= quarantine::keep(self.fs, self.dir, base, file, scan.end, scan.tail_end);
            let place = if last { &mut recovery.torn_bytes } else { &mut recovery.damaged_bytes };
            *place += scan.torn();
        }
        kept
    }
}
