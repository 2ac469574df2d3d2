//! The mark of a journal that was erased.

use std::io;
use std::path::{Path, PathBuf};

use buffer::Error;
use journal::fs::{Fs, write_all_at};

/// The file by which an erased journal is known.
pub const ERASED: &str = "ERASED";
const MARK: &[u8] = b"This journal was erased. Delete this file to make it anew.\n";

/// Refuses an erased journal.
///
/// # Errors
/// [`Error::Open`] with how to make it anew.
pub(crate) fn refuse_erased(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    if !is_erased(fs, dir)? {
        return Ok(());
    }
    let (dir, mark) = (dir.display(), dir.join(ERASED));
    Err(Error::Open(format!(
        "cannot open the journal in {dir}: it was erased; to make it anew, delete {}",
        mark.display()
    )))
}

/// What the disk refused.
pub(crate) fn failed(what: &str, path: &Path, e: &io::Error) -> Error {
    Error::Unavailable(format!("cannot {what} {}: {e}", path.display()))
}

/// The files in `dir`; none where it is not there.
pub(crate) fn files(fs: &dyn Fs, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|e| failed("list", dir, &e)),
    }
}

pub(crate) fn is_erased(fs: &dyn Fs, dir: &Path) -> Result<bool, Error> {
    Ok(files(fs, dir)?.contains(&dir.join(ERASED)))
}

/// Marks it, durably.
pub(crate) fn mark(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    let path = dir.join(ERASED);
    let write = || {
        let file = fs.open(&path, true)?;
        write_all_at(&*file, MARK, 0)?;
        file.sync_data()?;
        fs.sync_dir(dir)
    };
    write().map_err(|e| failed("write", &path, &e))
}
