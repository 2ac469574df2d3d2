//! What the logs of this process keep free on a file system for each byte that they hold.
//!
//! Each log is opened with a number for all logs that were known then. A log that is opened later raises it for
//! those before it: otherwise they would take the room that the later one counts on. It never falls.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// By the number of the file system's device.
static ASKED: Mutex<BTreeMap<u64, Arc<AtomicU64>>> = Mutex::new(BTreeMap::new());

/// Bytes that stay free for each byte held by a log in `dir`, which asks for `asked` of them.
pub(crate) fn per_byte(dir: &Path, asked: u64) -> Arc<AtomicU64> {
    // A log that keeps nothing free is on another file system than the store. A simulated one has no device.
    let device = std::fs::metadata(dir).ok().filter(|_| asked > 0).map(|found| found.dev());
    let Some(device) = device else { return Arc::new(AtomicU64::new(asked)) };
    let mut all = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    let per_byte = all.entry(device).or_default();
    per_byte.fetch_max(asked, Ordering::AcqRel);
    Arc::clone(per_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_opened_later_raises_what_earlier_ones_keep_free() {
        let dir = tempfile::tempdir().unwrap();
        let kept = |per_byte: &AtomicU64| per_byte.load(Ordering::Acquire);
        let first = per_byte(dir.path(), 3);
        let second = per_byte(dir.path(), 15);
        assert!(kept(&first) >= 15 && kept(&first) == kept(&second));
        let third = per_byte(dir.path(), 6);
        assert_eq!(kept(&third), kept(&first), "fewer logs later lower nothing");
        assert_eq!(kept(&per_byte(dir.path(), 0)), 0, "a log elsewhere keeps nothing free");
    }
}
