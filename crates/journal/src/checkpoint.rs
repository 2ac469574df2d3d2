//! How far the readers are: two slots beside the segments, overwritten in turn.
//!
//! The slots are as large as they will ever be from the start. Writing one therefore needs no space,
//! and a full disk can be drained: what is done is written down, and its segments are removed. A
//! write that is cut short leaves the other slot.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::fs::{Fs, read_full_at, write_all_at};

const MAGIC: &[u8; 8] = b"FOREBCP2";
/// Ranges kept at most. What does not fit is read again after a restart, and deduped.
pub const RANGES_MAX: usize = 16_384;
/// The bit of the count of ranges that says that the log was closed in order.
const CLOSED: u32 = 1 << 31;
const FIXED_BYTES: usize = 8 + 8 + 8 + 8 + 4;
/// What the names of its files begin with; the slot follows.
const NAME: &str = "checkpoint-";
const SLOT_BYTES: usize = FIXED_BYTES + RANGES_MAX * 16 + 4;

/// What is known to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every record numbered below is done.
    pub floor: u64,
    /// Records done above the floor, as half-open ranges in ascending order.
    pub done: Vec<(u64, u64)>,
    /// No record numbered below will ever be appended again. Keeps numbers from being used twice
    /// where the end of the log is lost (`Sync::Os` and a power cut): a new record under a number
    /// that is marked done would vanish.
    pub next_seq: u64,
    /// The log was closed in order: `next_seq` is its exact end. Otherwise the log may have been
    /// longer.
    pub closed: bool,
}

impl Checkpoint {
    /// Reads the newest checkpoint of `dir`; `None` when there is none or none can be trusted. Then
    /// all records count as not done.
    ///
    /// # Errors
    /// If a slot is there and can't be read.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, Error> {
        Ok(newest(fs, dir)?.map(|(_, checkpoint)| checkpoint))
    }

    /// How many of the numbers `start..end` are not done.
    #[must_use]
    pub fn undone(&self, start: u64, end: u64) -> u64 {
        let start = start.max(self.floor);
        let overlap = |(from, to): &(u64, u64)| (*to).min(end).saturating_sub((*from).max(start));
        let first = self.done.partition_point(|(_, to)| *to <= start);
        let touched = self.done[first..].iter().take_while(|(from, _)| *from < end);
        end.saturating_sub(start) - touched.map(overlap).sum::<u64>()
    }

    /// Marks records done, wherever they lie, as half-open ranges. Returns how many were not done
    /// before.
    pub fn mark(&mut self, marked: impl IntoIterator<Item = (u64, u64)>) -> u64 {
        let before = self.undone(0, u64::MAX);
        let floor = self.floor;
        let more = marked.into_iter().map(|(from, to)| (from.max(floor), to));
        let mut ranges: Vec<(u64, u64)> = self.done.iter().copied().chain(more).collect();
        ranges.retain(|(from, to)| from < to);
        ranges.sort_unstable();
        self.done.clear();
        for (from, to) in ranges {
            match self.done.last_mut() {
                Some((_, end)) if *end >= from => *end = to.max(*end),
                _ => self.done.push((from, to)),
            }
        }
        before - self.undone(0, u64::MAX)
    }

    fn encode(&self, generation: u64) -> Vec<u8> {
        let ranges = &self.done[..self.done.len().min(RANGES_MAX)];
        let mut bytes = Vec::with_capacity(FIXED_BYTES + ranges.len() * 16 + 4);
        bytes.extend_from_slice(MAGIC);
        for word in [generation, self.floor, self.next_seq] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let count = u32::try_from(ranges.len()).expect("bounded by RANGES_MAX");
        let count = if self.closed { count | CLOSED } else { count };
        bytes.extend_from_slice(&count.to_le_bytes());
        for (start, end) in ranges {
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The checkpoint at the beginning of `slot`, with its generation. What lies behind it is what
    /// an earlier, longer one left.
    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        slot.strip_prefix(MAGIC)?;
        let word = |at: usize| Some(u64::from_le_bytes(*slot.get(at..)?.first_chunk()?));
        let word_of_count = u32::from_le_bytes(*slot.get(32..)?.first_chunk()?);
        let (closed, count) = (word_of_count & CLOSED != 0, (word_of_count & !CLOSED) as usize);
        if count > RANGES_MAX {
            return None;
        }
        let covered = slot.get(..FIXED_BYTES + count * 16)?;
        let crc = u32::from_le_bytes(*slot.get(covered.len()..)?.first_chunk()?);
        if crc32fast::hash(covered) != crc {
            return None;
        }
        let done = (0..count)
            .map(|n| Some((word(FIXED_BYTES + n * 16)?, word(FIXED_BYTES + 8 + n * 16)?)))
            .collect::<Option<_>>()?;
        Some((word(8)?, Self { floor: word(16)?, done, next_seq: word(24)?, closed }))
    }
}

/// The two slots, for writing.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Of the newest checkpoint written.
    generation: u64,
    /// The newest checkpoint written.
    newest: Checkpoint,
}

impl Slots {
    /// Makes the slots where they are missing, reads the newest checkpoint, and makes it durable.
    pub(crate) fn open(fs: &dyn Fs, dir: &Path) -> Result<(Self, Checkpoint), Error> {
        let newest = newest(fs, dir)?;
        for slot in 0..2 {
            make(fs, &path(dir, slot))?;
        }
        fs.sync_dir(dir).map_err(|e| Error::io(format!("sync {}", dir.display()), &e))?;
        let (generation, checkpoint) = newest.unwrap_or_default();
        Ok((Self { generation, newest: checkpoint.clone() }, checkpoint))
    }

    /// Writes it durably over the older of the two. A promise that is there already is kept.
    pub(crate) fn write(
        &mut self,
        fs: &dyn Fs,
        dir: &Path,
        checkpoint: &Checkpoint,
    ) -> Result<(), Error> {
        self.put(fs, dir, checkpoint).map_err(Unwritten::into_error)
    }

    /// Writes durably that all numbers below `next_seq` were given, and nothing else that is new.
    pub(crate) fn promise(
        &mut self,
        fs: &dyn Fs,
        dir: &Path,
        next_seq: u64,
    ) -> Result<(), Unwritten> {
        let promise = Checkpoint { next_seq, closed: false, ..self.newest.clone() };
        self.put(fs, dir, &promise)
    }

    fn put(&mut self, fs: &dyn Fs, dir: &Path, checkpoint: &Checkpoint) -> Result<(), Unwritten> {
        let next_seq = checkpoint.next_seq.max(self.newest.next_seq);
        let checkpoint = Checkpoint { next_seq, ..checkpoint.clone() };
        let generation = self.generation + 1;
        let path = path(dir, generation % 2);
        let failed = |e| Error::io(format!("write {}", path.display()), &e);
        let file = fs.open(&path, false).map_err(|e| Unwritten::Absent(failed(e)))?;
        // The CRC is the last of its bytes: a part of it is no checkpoint.
        write_all_at(&*file, &checkpoint.encode(generation), 0)
            .map_err(|e| Unwritten::Absent(failed(e)))?;
        file.sync_data().map_err(|e| Unwritten::Unknown(failed(e)))?;
        (self.generation, self.newest) = (generation, checkpoint);
        Ok(())
    }
}

/// Why a checkpoint is not known to be durable.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// No restart will find it.
    Absent(Error),
    /// A restart may find it or not.
    Unknown(Error),
}

impl Unwritten {
    fn into_error(self) -> Error {
        match self {
            Self::Absent(error) | Self::Unknown(error) => error,
        }
    }
}

fn path(dir: &Path, slot: u64) -> PathBuf {
    dir.join(format!("{NAME}{slot}"))
}

/// Whether a checkpoint lies at this path.
#[must_use]
pub fn is_slot(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix(NAME)).is_some_and(|slot| slot.parse::<u64>().is_ok())
}

/// Makes a slot of its full size, written and not only reserved.
fn make(fs: &dyn Fs, path: &Path) -> Result<(), Error> {
    let failed = |e| Error::io(format!("make {}", path.display()), &e);
    let file = fs.open(path, true).map_err(failed)?;
    let from = file.length().map_err(failed)?;
    if from < SLOT_BYTES as u64 {
        // From behind what a crash may have left of a checkpoint.
        let missing = SLOT_BYTES - usize::try_from(from).unwrap_or(SLOT_BYTES);
        write_all_at(&*file, &vec![0; missing], from).map_err(failed)?;
    }
    // The process may have died between the write and the sync of what was read: nothing may be
    // removed because of it before it is durable.
    file.sync_data().map_err(failed)
}

fn newest(fs: &dyn Fs, dir: &Path) -> Result<Option<(u64, Checkpoint)>, Error> {
    let (mut newest, mut written): (Option<(u64, Checkpoint)>, _) = (None, false);
    for slot in 0..2 {
        let path = path(dir, slot);
        let file = match fs.open(&path, false) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(format!("open {}", path.display()), &e)),
        };
        let mut bytes = Vec::new();
        read_full_at(&*file, &mut bytes, SLOT_BYTES, 0)
            .map_err(|e| Error::io(format!("read {}", path.display()), &e))?;
        written |= bytes.iter().any(|byte| *byte != 0);
        if let Some(read) = Checkpoint::decode(&bytes)
            && newest.as_ref().is_none_or(|(generation, _)| read.0 > *generation)
        {
            newest = Some(read);
        }
    }
    if newest.is_none() && written {
        tracing::warn!(dir = %dir.display(), "the checkpoint is damaged: all that is there comes again");
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::sim::{Faults, Sim};

    const DIR: &str = "d";

    fn sample() -> Checkpoint {
        Checkpoint { floor: 7, done: vec![(9, 12), (14, 15)], next_seq: 20, closed: true }
    }

    fn open(sim: &Sim) -> (Slots, Checkpoint) {
        Slots::open(sim, Path::new(DIR)).unwrap()
    }

    fn write(sim: &Sim, slots: &mut Slots, checkpoint: &Checkpoint) -> Result<(), Error> {
        slots.write(sim, Path::new(DIR), checkpoint)
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was_written() {
        let sim = Sim::new(1);
        assert_eq!(Checkpoint::read(&sim, Path::new(DIR)).unwrap(), None);
        let (mut slots, _) = open(&sim);
        for floor in 1..6 {
            let written = Checkpoint { floor, ..sample() };
            write(&sim, &mut slots, &written).unwrap();
            sim.restart();
            assert_eq!(open(&sim).1, written);
        }
    }

    #[test]
    fn a_crash_between_any_two_calls_leaves_the_old_one_or_the_new_one() {
        let newer = Checkpoint { floor: 15, next_seq: 30, ..Checkpoint::default() };
        for seed in 0..20 {
            for calls in 0..4 {
                let sim = Sim::new(seed * 31 + calls + 1);
                let (mut slots, _) = open(&sim);
                write(&sim, &mut slots, &sample()).unwrap();
                sim.crash_after(calls);
                let written = write(&sim, &mut slots, &newer);
                sim.restart();
                let (_, read) = open(&sim);
                assert!(read == newer || (written.is_err() && read == sample()), "{read:?}");
            }
        }
    }

    #[test]
    fn a_checkpoint_that_was_read_outlives_a_power_loss() {
        let newer = Checkpoint { floor: 15, next_seq: 30, ..Checkpoint::default() };
        for seed in 0..32 {
            let sim = Sim::new(seed * 31 + 1);
            let (mut slots, _) = open(&sim);
            write(&sim, &mut slots, &sample()).unwrap();
            sim.crash_after(1);
            write(&sim, &mut slots, &newer).unwrap_err();
            sim.kill();
            assert_eq!(open(&sim).1, newer, "it was written and not synced");
            sim.restart();
            assert_eq!(open(&sim).1, newer);
        }
    }

    #[test]
    fn writing_one_needs_no_space() {
        let sim = Sim::new(1);
        let (mut slots, _) = open(&sim);
        sim.set_faults(Faults { no_space: 1, ..Faults::default() });
        let done = (0..RANGES_MAX as u64).map(|n| (100 + n * 2, 101 + n * 2)).collect();
        let longest = Checkpoint { done, ..sample() };
        write(&sim, &mut slots, &longest).unwrap();
        assert_eq!(open(&sim).1, longest);
    }

    #[test]
    fn what_is_undone_is_counted_around_the_done_ranges() {
        assert_eq!(sample().undone(0, 20), 13 - 4);
        assert_eq!(sample().undone(10, 13), 1);
        assert_eq!(sample().undone(20, 10), 0);
    }

    #[test]
    fn records_marked_done_join_the_ranges_they_touch() {
        let mut checkpoint = sample();
        assert_eq!(checkpoint.mark([(3, 4), (10, 11), (12, 14), (17, 18), (17, 18)]), 3);
        assert_eq!(checkpoint.done, [(9, 15), (17, 18)]);
    }

    #[test]
    fn any_flipped_bit_makes_it_untrusted() {
        let bytes = sample().encode(3);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&damaged), None, "bit {bit}");
        }
    }
}
