//! `/proc/…/stat`, as proc(5) describes it.

use std::path::Path;

/// Clock ticks a second in `/proc`: the kernel's `USER_HZ`, which is 100 on every architecture that
/// Forebay is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process is, and what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// At most 15 bytes; may hold anything.
    pub(super) name: String,
    /// In user and in system mode, of all its threads.
    own_ticks: u64,
    /// Of children that have ended and were waited for.
    reaped_ticks: u64,
}

impl Stat {
    pub(super) fn own_seconds(&self) -> f64 {
        self.own_ticks as f64 / TICKS_PER_SECOND
    }

    /// Its own and its ended children's.
    pub(super) fn family_seconds(&self) -> f64 {
        (self.own_ticks + self.reaped_ticks) as f64 / TICKS_PER_SECOND
    }
}

/// Reads one line of `/proc/…/stat`.
pub(super) fn parse(line: &str) -> Option<Stat> {
    // The name stands in brackets and may hold brackets and blanks itself.
    let (pid, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // Fields of proc(5) from the third on: 4 is the parent, 14 to 17 are utime, stime, cutime, cstime.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        pid: pid.trim().parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        name: name.to_owned(),
        own_ticks: ticks(14)?.checked_add(ticks(15)?)?,
        reaped_ticks: ticks(16)?.checked_add(ticks(17)?)?,
    })
}

/// The process whose folder in `/proc` this is, if it is still there.
pub(super) fn read(folder: &Path) -> Option<Stat> {
    let bytes = std::fs::read(folder.join("stat")).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// All processes that can be seen.
pub(super) fn all(proc: &Path) -> Vec<Stat> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| read(&entry.path()))
        .collect()
}
