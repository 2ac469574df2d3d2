//! Log lines while a picture fills the terminal: they would tear it, so they are held and come out when the
//! terminal is given back.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes held; what comes after is counted and dropped.
const HELD_BYTES_MAX: usize = 64 * 1024;

static HELD: Mutex<Option<Held>> = Mutex::new(None);

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    dropped: u64,
}

/// Holds lines from now on.
pub(super) fn hold() {
    held().get_or_insert_default();
}

/// Writes what was held, and from now on every line at once.
pub(super) fn let_go() {
    let Some(held) = held().take() else { return };
    let mut stderr = io::stderr().lock();
    // Nobody is left to tell if standard error is gone.
    let _ = stderr.write_all(&held.bytes);
    if held.dropped > 0 {
        let _ = writeln!(stderr, "({} more log lines were dropped)", held.dropped);
    }
}

/// Where log lines go: to standard error, except while a picture fills the terminal.
pub struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut held = held();
        match held.as_mut() {
            // A terminal that was closed takes no lines, and its processes may run on.
            None => drop(io::stderr().lock().write_all(line)),
            Some(held) if held.bytes.len() + line.len() > HELD_BYTES_MAX => held.dropped += 1,
            Some(held) => held.bytes.extend_from_slice(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().lock().flush();
        Ok(())
    }
}

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
