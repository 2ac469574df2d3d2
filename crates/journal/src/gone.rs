//! Notices that the segment which is written to was removed or moved, with its folder or alone.
//!
//! Its bytes can still be written and synced then, and no later opening finds them: a group in it
//! would be accepted and lost.

use std::path::Path;

use crate::Error;
use crate::fs::{File, Fs};

/// Checks that `path` leads to `file`. One look-up of the path; nothing where the medium cannot tell
/// files apart.
///
/// # Errors
/// [`Error::Poisoned`] when it does not, or cannot be looked at.
pub(crate) fn check(fs: &dyn Fs, path: &Path, file: &dyn File) -> Result<(), Error> {
    let shown = path.display();
    let written = file.identity().map_err(|e| {
        Error::Poisoned(format!("cannot look at the open segment {shown}: {e}; restart"))
    })?;
    if written.is_none() {
        return Ok(());
    }
    match fs.identity(path) {
        Ok(found) if found == written => Ok(()),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Poisoned(format!("cannot look at the segment {shown}: {e}; restart")))
        }
        _ => Err(Error::Poisoned(format!(
            "cannot write to the segment {shown}: it was removed or moved while the journal was open; \
             let this process settle what it holds, then restart it"
        ))),
    }
}
