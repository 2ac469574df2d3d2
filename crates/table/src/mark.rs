//! A stamp on the disk that no accepted stamp is above, so that stamps grow beyond a restart.
//!
//! A clock may be set back between two processes. The later one begins above the mark, whatever its
//! clock says. The mark is ahead of what was accepted by [`STEP_US`] at most, so that it is written
//! once in a second and not for each row.
//!
//! The file holds 20 digits and a line feed, overwritten in place: that needs no space on a full
//! disk. Processes that share the folder share the mark, each under the file's lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

/// How far a mark is ahead of the stamp it was written for, in microseconds.
pub(crate) const STEP_US: i64 = 1_000_000;
/// Digits and a line feed.
const BYTES: usize = 21;
/// How often, and how long in between, the file's lock is asked for while another process holds it.
const LOCK_TRIES_MAX: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub struct Mark {
    file: Arc<File>,
    path: PathBuf,
    found: i64,
    /// No stamp above this one may be accepted.
    at: AtomicI64,
    /// One write at a time.
    writing: Mutex<()>,
}

impl Mark {
    /// Opens the mark at `path`; makes it, and its folder, where there is none. Blocks on the disk.
    ///
    /// # Errors
    /// If it can be neither read nor made, or holds no stamp.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        File::open(folder)?.sync_all()?;
        let found = locked(&file, || read(&file))?;
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            found,
            at: AtomicI64::new(found),
            writing: Mutex::new(()),
        })
    }

    /// The mark that was found: all stamps that were accepted before are at most this, in
    /// microseconds since the Unix epoch; 0 where none was accepted.
    #[must_use]
    pub fn found(&self) -> i64 {
        self.found
    }

    /// How long to wait at `now_us` until the clock has passed the mark that was found, in
    /// microseconds: after a crash the mark is ahead by a step. 0 when the clock has passed it, and
    /// when it is behind by more than a step: it was set back then.
    #[must_use]
    pub fn wait_us(&self, now_us: i64) -> u64 {
        let ahead = self.found.saturating_sub(now_us);
        u64::try_from(ahead).ok().filter(|_| ahead <= STEP_US).unwrap_or(0)
    }

    /// Makes sure that the mark is not below `stamp`, durably.
    ///
    /// # Errors
    /// If it cannot be written; then nothing stamped so may be accepted.
    pub(crate) async fn cover(&self, stamp: i64) -> Result<(), String> {
        if stamp <= self.at.load(Ordering::Acquire) {
            return Ok(());
        }
        let _turn = self.writing.lock().await;
        if stamp <= self.at.load(Ordering::Acquire) {
            return Ok(());
        }
        let (file, upto) = (Arc::clone(&self.file), stamp.saturating_add(STEP_US));
        let written = tokio::task::spawn_blocking(move || raise(&file, upto)).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| {
            format!("cannot write the stamp mark {}: {error}", self.path.display())
        })?;
        self.at.store(upto, Ordering::Release);
        Ok(())
    }
}

/// Another process may have raised it further.
fn raise(file: &File, upto: i64) -> io::Result<()> {
    locked(file, || {
        if read(file)? >= upto {
            return Ok(());
        }
        file.write_all_at(format!("{upto:020}\n").as_bytes(), 0)?;
        file.sync_data()
    })
}

fn locked<T>(file: &File, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..LOCK_TRIES_MAX {
        match file.try_lock() {
            Ok(()) => {
                let done = work();
                file.unlock()?;
                return done;
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "another process has held its lock for a second"))
}

fn read(file: &File) -> io::Result<i64> {
    let mut bytes = [0; BYTES];
    let mut length = 0;
    while length < BYTES {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    // A crash during the first write leaves nothing, or zeros; no stamp was accepted then.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let text = std::str::from_utf8(&bytes[..length]).ok().and_then(|text| text.strip_suffix('\n'));
    let stamp = text.filter(|text| text.len() == BYTES - 1).and_then(|text| text.parse().ok());
    stamp.ok_or_else(|| {
        let said = "it holds no stamp; delete it if the clock of this machine was never set back";
        io::Error::new(io::ErrorKind::InvalidData, said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("stamps/prices")
    }

    #[tokio::test]
    async fn a_mark_is_never_below_a_covered_stamp_and_at_most_a_step_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let mark = Mark::open(&path(&folder)).unwrap();
        assert_eq!(mark.found(), 0);
        mark.cover(5_000_000).await.unwrap();
        mark.cover(6_000_000).await.unwrap();
        assert_eq!(Mark::open(&path(&folder)).unwrap().found(), 6_000_000);
        mark.cover(6_000_001).await.unwrap();
        assert_eq!(Mark::open(&path(&folder)).unwrap().found(), 7_000_001);
    }

    #[tokio::test]
    async fn processes_that_share_a_mark_do_not_lower_it() {
        let folder = tempfile::tempdir().unwrap();
        let (behind, ahead) = (Mark::open(&path(&folder)).unwrap(), Mark::open(&path(&folder)));
        ahead.unwrap().cover(9_000_000).await.unwrap();
        behind.cover(1_000_000).await.unwrap();
        assert_eq!(Mark::open(&path(&folder)).unwrap().found(), 10_000_000);
    }

    #[tokio::test]
    async fn only_a_clock_that_is_a_step_behind_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        Mark::open(&path(&folder)).unwrap().cover(5_000_000).await.unwrap();
        let mark = Mark::open(&path(&folder)).unwrap();
        for (now_us, wait_us) in
            [(6_000_000, 0), (5_999_999, 1), (5_000_000, 1_000_000), (4_999_999, 0), (0, 0)]
        {
            assert_eq!(mark.wait_us(now_us), wait_us, "at {now_us}");
        }
    }

    #[test]
    fn a_file_without_a_stamp_is_refused_and_one_of_a_crash_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mark");
        for damaged in ["soon\n", "123\n", "0000001772420400000x\n"] {
            std::fs::write(&file, damaged).unwrap();
            let refused = Mark::open(&file).unwrap_err().to_string();
            assert!(refused.contains("holds no stamp"), "{refused}");
        }
        for crashed in [vec![], vec![0; BYTES]] {
            std::fs::write(&file, crashed).unwrap();
            assert_eq!(Mark::open(&file).unwrap().found(), 0);
        }
    }
}
