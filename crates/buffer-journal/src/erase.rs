//! Taking a journal away again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use buffer::erasing::{Obstacles, refusal};
use buffer::{Buffer, Error};
use futures_executor::block_on;
use journal::fs::Fs;
use journal::fs::disk::Disk;
use journal::{Log, checkpoint, segment};
use model::clock::{Clock, System};

use crate::erased::{ERASED, failed, files, is_erased, mark};
use crate::failure::error_of;
use crate::journal_buffer::JournalBuffer;
use crate::options::{DEAD, Options};

/// Where damaged bytes lie, beside the segments.
const QUARANTINE: &str = "quarantine";

/// Removes the journal's files, if it holds nothing and no process has it. The folder stays, with a file
/// [`ERASED`](crate::ERASED): while that is there, opening the journal is refused. The file is made before anything is
/// removed, so that an erasure that is cut short is finished by the next one. A program of an earlier version does not
/// know that file: what it accepted after an erasure is kept, and the next erasure refused.
///
/// # Errors
/// [`Error::Held`] with what it holds or who has it, [`Error::Open`] if a key is missing, [`Error::Unavailable`]
/// if the disk refuses.
pub async fn erase(options: &Options) -> Result<(), Error> {
    let options = options.clone();
    let erasing = tokio::task::spawn_blocking(move || {
        erase_on(&(Arc::new(Disk) as Arc<dyn Fs>), &options, Arc::new(System))
    });
    erasing.await.map_err(|e| Error::Unavailable(format!("cannot erase the journal: {e}")))?
}

/// Erases it on another medium than the machine's disk. Blocks.
///
/// # Errors
/// As [`erase`].
pub fn erase_on(fs: &Arc<dyn Fs>, options: &Options, clock: Arc<dyn Clock>) -> Result<(), Error> {
    let dir = &*options.dir;
    let marked = is_erased(&**fs, dir)?;
    // The next numbers of the events and of the letters; no segment of an erased journal may be there.
    let mut ends = [0, 0];
    let dirs = [dir.to_owned(), dir.join(DEAD)];
    if !marked || is_any_from(&**fs, &dirs, ends)? {
        let (journal, _) =
            JournalBuffer::open_where(fs.clone(), options.clone(), clock, |_, _| Ok(()))?;
        holds_nothing(&journal, dir, marked)?;
        nothing_is_quarantined(&**fs, dir)?;
        // The logs say from now on that all is done, whichever of their segments are left.
        block_on(journal.inner.trim_dead())?;
        ends = [journal.inner.log.usage().next_seq, journal.inner.dead.next_seq()];
        // The lock is still held, so the next process finds the mark.
        mark(&**fs, dir)?;
    }
    let keys = options.key.read()?;
    let held = Log::hold(fs.clone(), options.events_log(keys)).map_err(|e| error_of(&e))?;
    if is_any_from(&**fs, &dirs, ends)? {
        let dir = dir.display();
        return Err(Error::Held(format!(
            "cannot erase the journal in {dir}: a process opened it meanwhile and accepted events; stop it, then \
             erase the journal again"
        )));
    }
    for dir in &dirs {
        remove_log(&**fs, dir)?;
    }
    drop(held);
    Ok(())
}

fn holds_nothing(journal: &JournalBuffer, dir: &Path, marked: bool) -> Result<(), Error> {
    let depth = block_on(journal.depth())?;
    let found = Obstacles { ready: depth.ready, dead: depth.dead, ..Obstacles::default() };
    let what = format!("the journal in {}", dir.display());
    match refusal(&what, &found) {
        Some(refused) if marked => Err(Error::Held(format!(
            "{refused}; a program of an earlier version accepted them after the journal was erased: delete {} first",
            dir.join(ERASED).display()
        ))),
        Some(refused) => Err(refused),
        None => Ok(()),
    }
}

/// Whether some folder has a segment that begins with its number of `from` or a higher one.
fn is_any_from(fs: &dyn Fs, dirs: &[PathBuf; 2], from: [u64; 2]) -> Result<bool, Error> {
    for (dir, from) in dirs.iter().zip(from) {
        let files = files(fs, dir)?;
        if files.iter().filter_map(|path| segment::base(path)).any(|base| base >= from) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Quarantined bytes may be events: an operator decides.
fn nothing_is_quarantined(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    for quarantine in [dir.join(QUARANTINE), dir.join(DEAD).join(QUARANTINE)] {
        let damaged = files(fs, &quarantine)?.len();
        if damaged > 0 {
            return Err(Error::Held(format!(
                "cannot erase the journal in {}: {damaged} files of damaged bytes are in {}; look at them, then \
                 move or delete them",
                dir.display(),
                quarantine.display()
            )));
        }
    }
    Ok(())
}

/// Removes segments, then checkpoints, and nothing else that somebody put there: while any segment is left, a
/// checkpoint says that it is done.
fn remove_log(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    let is_segment = |path: &Path| segment::base(path).is_some();
    for is_part in [&is_segment as &dyn Fn(&Path) -> bool, &checkpoint::is_slot] {
        let parts = files(fs, dir)?.into_iter().filter(|path| is_part(path));
        let mut removed = false;
        for path in parts {
            fs.remove(&path).map_err(|e| failed("remove", &path, &e))?;
            removed = true;
        }
        if removed {
            fs.sync_dir(dir).map_err(|e| failed("sync", dir, &e))?;
        }
    }
    Ok(())
}
