//! The file layer: the seam at which faults are injected.
//!
//! Only what the log needs, in the terms of POSIX. [`disk::Disk`] is the real one; [`sim::Sim`]
//! keeps files in memory, fails on request, and forgets what was not synced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod disk;
pub mod sim;

/// One open file.
pub trait File: Send + Sync {
    /// Writes at most all of `bytes` at `offset`; returns how many were written.
    ///
    /// # Errors
    /// As `pwrite(2)`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Appends at most `max` bytes from `offset` on to `into`; returns how many. Zero at the end.
    ///
    /// # Errors
    /// As `pread(2)`.
    fn read_at(&self, into: &mut Vec<u8>, max: usize, offset: u64) -> io::Result<usize>;

    /// Makes the file's bytes, and the length needed to read them, durable.
    ///
    /// # Errors
    /// As `fdatasync(2)`. After an error nothing is known of the bytes written since the last success.
    fn sync_data(&self) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// As `ftruncate(2)`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space so that later writes below `len` find room. The bytes read as zeros.
    ///
    /// # Errors
    /// As `posix_fallocate(3)`: no space. A medium that can't reserve reports success.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// As `fstat(2)`.
    fn length(&self) -> io::Result<u64>;

    /// What tells it from every other file; `None` of a medium that cannot tell.
    ///
    /// # Errors
    /// As `fstat(2)`.
    fn identity(&self) -> io::Result<Option<Identity>> {
        Ok(None)
    }
}

/// The number of a file on its device, and of the device.
pub type Identity = (u64, u64);

/// A place for files.
pub trait Fs: Send + Sync {
    /// Makes a directory and its parents, durably.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The files in `dir`, unordered.
    ///
    /// # Errors
    /// As `readdir(3)`.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Opens for reading and writing; makes the file, empty, when `create`.
    ///
    /// # Errors
    /// As `open(2)`.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>>;

    /// The identity of the file that `path` leads to; `None` of a medium that cannot tell.
    ///
    /// # Errors
    /// As `stat(2)`.
    fn identity(&self, _path: &Path) -> io::Result<Option<Identity>> {
        Ok(None)
    }

    /// Renames over whatever has the new name.
    ///
    /// # Errors
    /// As `rename(2)`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is not there is as good as removed.
    ///
    /// # Errors
    /// As `unlink(2)`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of `dir` durable: creations, renames, removals.
    ///
    /// # Errors
    /// As `fsync(2)` on a directory.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that this user may still write on the file system that holds `dir`.
    ///
    /// # Errors
    /// As `statvfs(3)`.
    fn free(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the exclusive lock on `path`, or `None` when another process has it. Held until the
    /// guard is dropped.
    ///
    /// # Errors
    /// As `open(2)`, `flock(2)`.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
}

/// Writes all of `bytes` at `offset`, through short writes and interruptions.
///
/// # Errors
/// The first error that is not an interruption; `WriteZero` when nothing more goes in.
pub fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Appends up to `max` bytes to `into`, through short reads, stopping at the end of the file.
///
/// # Errors
/// The first error that is not an interruption.
pub fn read_full_at(
    file: &dyn File,
    into: &mut Vec<u8>,
    max: usize,
    mut offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while done < max {
        match file.read_at(into, max - done, offset) {
            Ok(0) => break,
            Ok(n) => {
                done += n;
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
