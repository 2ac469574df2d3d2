//! Turns between the process that settles and those beside it.
//!
//! SQLite gives its lock for writing to the process that asks at the right moment. The process that
//! settles lets go of it for microseconds between two commits, so another one that polls for it may wait
//! in vain for as long as events come in. Therefore a process beside it closes this gate before it asks,
//! and the writer waits at the gate before each transaction: for one transaction of the other, as a
//! rule, and [`PASS_MAX`] at most.
//!
//! The gate is a lock on a file of its own. It protects no data; SQLite's own lock does.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use store::Error;

/// The longest wait of the writer at a closed gate.
const PASS_MAX: Duration = Duration::from_millis(100);
/// Between two looks at a lock.
pub(crate) const POLL: Duration = Duration::from_millis(1);
/// Only this user opens it.
const FILE_MODE: u32 = 0o600;

/// The gate of one database.
#[derive(Debug)]
pub(crate) struct Gate {
    file: File,
    /// Whether the process that closed it took longer than [`PASS_MAX`], and has it still: it is not
    /// waited for a second time.
    given_up: bool,
}

impl Gate {
    /// Opens the gate of the database at `path`.
    ///
    /// # Errors
    /// [`Error::Fatal`] when its file can't be made.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut path = path.as_os_str().to_owned();
        path.push("-gate");
        let opened =
            OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(&path);
        let file = opened.map_err(|error| {
            let path = Path::new(&path).display();
            Error::Fatal(format!("cannot open {path}: {error}; let this user write there"))
        })?;
        Ok(Self { file, given_up: false })
    }

    /// Waits while another process has closed the gate, [`PASS_MAX`] at most.
    pub(crate) fn pass(&mut self) {
        let end = Instant::now() + PASS_MAX;
        while self.is_closed() {
            if self.given_up || Instant::now() >= end {
                self.given_up = true;
                return;
            }
            thread::sleep(POLL);
        }
        self.given_up = false;
    }

    fn is_closed(&self) -> bool {
        match self.file.try_lock_shared() {
            Ok(()) => {
                // Nothing holds it but this look, which is over.
                let _ = self.file.unlock();
                false
            }
            Err(TryLockError::WouldBlock) => true,
            // Without a gate there are still SQLite's locks.
            Err(TryLockError::Error(_)) => false,
        }
    }

    /// Closes the gate, until what this returns is dropped. `None` when other processes have it until
    /// `end`.
    pub(crate) fn close(&self, end: Instant) -> Option<Closed<'_>> {
        loop {
            match self.file.try_lock() {
                Ok(()) => return Some(Closed { gate: Some(self) }),
                Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => return None,
                Err(TryLockError::Error(_)) => return Some(Closed { gate: None }),
            }
        }
    }
}

/// A closed gate.
pub(crate) struct Closed<'g> {
    gate: Option<&'g Gate>,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.gate {
            let _ = gate.file.unlock();
        }
    }
}
