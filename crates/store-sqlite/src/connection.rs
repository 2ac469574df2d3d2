//! Opening the file, once for each part a connection plays.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use store::Error;

use crate::Options;
use crate::error::classify;

/// Only this user reads it. SQLite gives `-wal` and `-shm` the same mode.
const FILE_MODE: u32 = 0o600;
/// How often a lock that is held is tried again.
const LOCK_POLL: Duration = Duration::from_millis(10);
/// Statements kept prepared on each connection.
const STATEMENTS_MAX: usize = 16;
/// The page cache, in KiB, of a connection that only reads or only checkpoints.
const SMALL_CACHE_KIB: u32 = 2 * 1024;

/// Makes sure that the file and its directories are there, and that their names outlive a power
/// loss.
pub(crate) fn create(path: &Path) -> Result<(), Error> {
    let unusable = |error: std::io::Error| {
        let path = path.display();
        Error::Fatal(format!(
            "can't open {path}: {error}; name a file in a directory this user can write to"
        ))
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let missing = directory.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    fs::create_dir_all(directory).map_err(unusable)?;
    let made = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(path);
    match made {
        Ok(_) => {}
        // A file that is there is not opened: closing it would end the locks that SQLite holds on it in this
        // process. See https://www.sqlite.org/howtocorrupt.html, "posix advisory locks canceled".
        Err(error) if error.kind() == ErrorKind::AlreadyExists && !path.is_dir() => {}
        Err(error) => return Err(unusable(error)),
    }
    for changed in directory.ancestors().take(missing + 1) {
        let changed = if changed.as_os_str().is_empty() { Path::new(".") } else { changed };
        File::open(changed).and_then(|opened| opened.sync_all()).map_err(unusable)?;
    }
    Ok(())
}

/// Takes the store for this process, until the file that is returned is dropped: two processes that
/// settle into one store would each screen without the other's payments. Waits as long as for any
/// other lock, since a store that was just dropped may still be writing what waited.
pub(crate) fn take(options: &Options) -> Result<File, Error> {
    let mut path = options.path.clone().into_os_string();
    path.push("-lock");
    let unusable = |e| Error::Fatal(format!("can't lock {}: {e}", Path::new(&path).display()));
    let lock = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(unusable)?;
    let end = Instant::now() + Duration::from_millis(options.busy_timeout_ms.into());
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Fatal(format!(
                    "{} is in use: one process at a time settles into a store; stop the other, or \
                     name another store",
                    options.path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
}

/// The one connection that writes. The file must be there.
pub(crate) fn writer(options: &Options) -> Result<Connection, Error> {
    let db = open(&options.path, OpenFlags::SQLITE_OPEN_READ_WRITE, options.busy_timeout_ms)?;
    let mode: String = db
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| classify(&error))?;
    if mode != "wal" {
        return Err(Error::Fatal(format!(
            "{} is on a file system without shared memory, which a write-ahead log needs; put it on a local disk",
            options.path.display()
        )));
    }
    set_up(&db, options.cache_kib).map_err(|error| classify(&error))?;
    Ok(db)
}

/// A connection that writes now and then, beside the process that settles. The file must be there.
pub(crate) fn beside(options: &Options) -> Result<Connection, Error> {
    let options = Options { cache_kib: SMALL_CACHE_KIB, ..options.clone() };
    let options = options.bounded_by_its_file_system();
    let db = writer(&options)?;
    // While no process settles, nobody else keeps the log short.
    let pages = i64::try_from(options.wal_pages_max()).unwrap_or(i64::MAX);
    db.pragma_update(None, "wal_autocheckpoint", pages).map_err(|error| classify(&error))?;
    Ok(db)
}

/// A connection that moves pages from the WAL to the database file.
pub(crate) fn checkpointer(options: &Options) -> Result<Connection, Error> {
    let db = open(&options.path, OpenFlags::SQLITE_OPEN_READ_WRITE, options.busy_timeout_ms)?;
    set_up(&db, SMALL_CACHE_KIB).map_err(|error| classify(&error))?;
    Ok(db)
}

/// A connection that can't write.
pub(crate) fn reader(path: &Path, busy_timeout_ms: u32) -> Result<Connection, Error> {
    let db = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, busy_timeout_ms)?;
    db.pragma_update(None, "cache_size", -i64::from(SMALL_CACHE_KIB))
        .map_err(|error| classify(&error))?;
    Ok(db)
}

fn open(path: &Path, access: OpenFlags, busy_timeout_ms: u32) -> Result<Connection, Error> {
    // Each connection stays with one thread at a time; `rusqlite` sees to that.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|db| {
        db.busy_timeout(Duration::from_millis(busy_timeout_ms.into()))?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(db)
    });
    opened.map_err(|error| classify(&error))
}

fn set_up(db: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    // A page that can't be read is an error to be reported, not a signal that ends the process.
    db.pragma_update(None, "mmap_size", 0)?;
    // `crate::wal` says when.
    db.pragma_update(None, "wal_autocheckpoint", 0)
}
