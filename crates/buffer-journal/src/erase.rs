//! Taking a journal away again.

use std::path::Path;
use std::sync::Arc;

use buffer::erasing::{Obstacles, refusal};
use buffer::{Buffer, Error};
use journal::fs::Fs;
use journal::fs::disk::Disk;
use journal::{Log, checkpoint, segment};
use model::clock::{Clock, System};

use crate::erased::{failed, files, is_erased, mark};
use crate::failure::error_of;
use crate::journal_buffer::JournalBuffer;
use crate::options::{DEAD, Options};

/// Where damaged bytes lie, beside the segments.
const QUARANTINE: &str = "quarantine";

/// Removes the journal's files, if it holds nothing and no process has it. The folder stays, with a file
/// [`ERASED`](crate::ERASED): while that is there, opening the journal is refused. The file is made before anything is
/// removed, so that an erasure that is cut short is finished by the next one.
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
    if !is_erased(&**fs, dir)? {
        let (journal, _) = JournalBuffer::open_on(fs.clone(), options.clone(), clock)?;
        let depth = futures_executor::block_on(journal.depth())?;
        let found = Obstacles { ready: depth.ready, dead: depth.dead, ..Obstacles::default() };
        let what = format!("the journal in {}", dir.display());
        if let Some(refused) = refusal(&what, &found) {
            return Err(refused);
        }
        nothing_is_quarantined(&**fs, dir)?;
        // The lock is still held, so the next process finds the mark.
        mark(&**fs, dir)?;
    }
    let keys = options.key.read()?;
    let held = Log::hold(fs.clone(), options.events_log(keys)).map_err(|e| error_of(&e))?;
    for dir in [dir.to_owned(), dir.join(DEAD)] {
        remove_log(&**fs, &dir)?;
    }
    drop(held);
    Ok(())
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

/// Removes segments and checkpoints, and nothing else that somebody put there.
fn remove_log(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    let all = files(fs, dir)?;
    if all.is_empty() {
        return Ok(());
    }
    for path in all {
        if segment::base(&path).is_some() || checkpoint::is_slot(&path) {
            fs.remove(&path).map_err(|e| failed("remove", &path, &e))?;
        }
    }
    fs.sync_dir(dir).map_err(|e| failed("sync", dir, &e))
}
