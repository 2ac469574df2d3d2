//! How far the readers are: written whole, beside the segments, and swapped in by a rename.

use std::path::Path;

use crate::Error;
use crate::fs::{Fs, read_full_at, write_all_at};

const MAGIC: &[u8; 8] = b"FOREBCP1";
const NAME: &str = "checkpoint";
/// Ranges kept at most. What does not fit is read again after a restart, and deduped.
pub const RANGES_MAX: usize = 65_536;
const FIXED_BYTES: usize = 8 + 8 + 8 + 4;

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
}

impl Checkpoint {
    /// Reads the checkpoint of `dir`; `None` when there is none or it can't be trusted. Then all
    /// records count as not done.
    ///
    /// # Errors
    /// If it is there and can't be read.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(NAME);
        let file = match fs.open(&path, false) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(format!("open {}", path.display()), &e)),
        };
        let mut bytes = Vec::new();
        read_full_at(&*file, &mut bytes, FIXED_BYTES + RANGES_MAX * 16 + 4, 0)
            .map_err(|e| Error::io(format!("read {}", path.display()), &e))?;
        Ok(Self::decode(&bytes))
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

    /// Writes it durably in place of the last one.
    ///
    /// # Errors
    /// If any step fails; the last one then stands.
    pub fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let draft = dir.join("checkpoint.new");
        let failed = |e| Error::io(format!("write {}", draft.display()), &e);
        let bytes = self.encode();
        let file = fs.open(&draft, true).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        write_all_at(&*file, &bytes, 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        fs.rename(&draft, &dir.join(NAME)).map_err(failed)?;
        fs.sync_dir(dir).map_err(failed)
    }

    fn encode(&self) -> Vec<u8> {
        let ranges = &self.done[..self.done.len().min(RANGES_MAX)];
        let mut bytes = Vec::with_capacity(FIXED_BYTES + ranges.len() * 16 + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.floor.to_le_bytes());
        bytes.extend_from_slice(&self.next_seq.to_le_bytes());
        let count = u32::try_from(ranges.len()).expect("bounded by RANGES_MAX");
        bytes.extend_from_slice(&count.to_le_bytes());
        for (start, end) in ranges {
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let body = bytes.strip_prefix(MAGIC)?;
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let word = |at: usize| Some(u64::from_le_bytes(*body.get(at..)?.first_chunk::<8>()?));
        let count = u32::from_le_bytes(*body.get(16..)?.first_chunk::<4>()?) as usize;
        if count > RANGES_MAX || bytes.len() != FIXED_BYTES + count * 16 + 4 {
            return None;
        }
        let done = (0..count)
            .map(|n| Some((word(20 + n * 16)?, word(28 + n * 16)?)))
            .collect::<Option<_>>()?;
        Some(Self { floor: word(0)?, next_seq: word(8)?, done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::sim::Sim;

    fn sample() -> Checkpoint {
        Checkpoint { floor: 7, done: vec![(9, 12), (14, 15)], next_seq: 20 }
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was_written() {
        let sim = Sim::new(1);
        let dir = Path::new("d");
        assert_eq!(Checkpoint::read(&sim, dir).unwrap(), None);
        sample().write(&sim, dir).unwrap();
        sim.restart();
        assert_eq!(Checkpoint::read(&sim, dir).unwrap(), Some(sample()));
    }

    #[test]
    fn a_crash_between_any_two_calls_leaves_the_old_one_or_the_new_one() {
        let newer = Checkpoint { floor: 15, done: vec![], next_seq: 30 };
        for seed in 0..20 {
            for calls in 0..8 {
                let sim = Sim::new(seed * 31 + calls + 1);
                let dir = Path::new("d");
                sample().write(&sim, dir).unwrap();
                sim.crash_after(calls);
                let written = newer.write(&sim, dir);
                sim.restart();
                let read = Checkpoint::read(&sim, dir).unwrap().expect("one of the two");
                assert!(read == newer || (written.is_err() && read == sample()), "{read:?}");
            }
        }
    }

    #[test]
    fn what_is_undone_is_counted_around_the_done_ranges() {
        assert_eq!(sample().undone(0, 20), 13 - 4);
        assert_eq!(sample().undone(10, 13), 1);
        assert_eq!(sample().undone(20, 10), 0);
    }

    #[test]
    fn any_flipped_bit_makes_it_untrusted() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&damaged), None, "bit {bit}");
        }
    }
}
