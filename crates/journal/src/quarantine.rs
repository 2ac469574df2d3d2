//! Where bytes go that could not be read: kept for a person to look at, never in the way.

use std::path::Path;

use crate::fs::{File, Fs, read_full_at, write_all_at};

/// Copies `start..end` of the segment `base` into `dir/quarantine/`. A copy that is there already is
/// left alone. Failing to copy (no space, say) must not keep the log from opening: it is told, and the
/// answer is false: the bytes must then stay where they are.
pub(crate) fn keep(
    fs: &dyn Fs,
    dir: &Path,
    base: u64,
    file: &dyn File,
    start: u64,
    end: u64,
) -> bool {
    if let Err(e) = copy(fs, &dir.join("quarantine"), base, file, start, end) {
        tracing::warn!(segment = base, start, end, error = %e, "damaged bytes could not be copied to quarantine");
        return false;
    }
    true
}

fn copy(
    fs: &dyn Fs,
    dir: &Path,
    base: u64,
    file: &dyn File,
    start: u64,
    end: u64,
) -> std::io::Result<()> {
    fs.create_dir(dir)?;
    let path = dir.join(format!("{base:020}-{start}.bin"));
    let copy = fs.open(&path, true)?;
    if copy.length()? == end - start {
        return Ok(());
    }
    let mut at = start;
    let mut chunk = Vec::new();
    while at < end {
        chunk.clear();
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 20);
        let got = read_full_at(file, &mut chunk, most, at)?;
        if got == 0 {
            break;
        }
        write_all_at(&*copy, &chunk, at - start)?;
        at += got as u64;
    }
    copy.sync_data()?;
    fs.sync_dir(dir)
}
