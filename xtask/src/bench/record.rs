//! A run kept in docs/benchmarks, with notes about the machine it ran on.
//!
//! A figure without its machine says nothing, so a kept run always opens with the machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;

/// Keeps what a run printed, and says where. `after_date` tells kinds of runs apart in the file's name.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn keep(root: &Path, after_date: &str, printed: &str) -> Result<()> {
    let folder = root.join("docs/benchmarks");
    fs::create_dir_all(&folder)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let path = free_name(&folder, &(date + after_date));
    fs::write(&path, printed).with_context(|| format!("could not write {}", path.display()))?;
    println!("kept in {}", path.strip_prefix(root).unwrap_or(&path).display());
    Ok(())
}

/// `NAME.txt`, or `NAME-2.txt` and so on: an earlier run of the day is never overwritten.
fn free_name(folder: &Path, name: &str) -> PathBuf {
    let first = folder.join(format!("{name}.txt"));
    let later = (2_u32..).map(|n| folder.join(format!("{name}-{n}.txt")));
    std::iter::once(first).chain(later).find(|path| !path.exists()).expect("some number is free")
}

/// Notes about the machine, each on a line that opens with `#`.
pub(super) fn machine(root: &Path) -> String {
    let ask = |program: &str, args: &[&str]| {
        process::output(&mut process::command(root, program, args))
            .map_or_else(|_| "unknown".to_string(), |out| out.trim().to_string())
    };
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
        value.unwrap_or("unknown").to_string()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let notes = [
        ("when", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
        ("commit", ask("git", &["describe", "--always", "--dirty", "--abbrev=12"])),
        ("cpu", field("/proc/cpuinfo", "model name")),
        ("cores", cores.to_string()),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", ask("uname", &["-sr"])),
        ("disk", ask("stat", &["--file-system", "--format", "%T", "."])),
        ("rustc", ask("rustc", &["--version"])),
    ];
    notes.iter().map(|(note, value)| format!("# {note:<7} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_run_of_the_day_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["2026-01-31.txt", "2026-01-31-2.txt"] {
            assert_eq!(free_name(folder.path(), "2026-01-31"), folder.path().join(name));
            fs::write(folder.path().join(name), "").unwrap();
        }
    }

    #[test]
    fn a_kept_run_opens_with_its_machine() {
        let notes = machine(Path::new("."));
        for name in ["cpu", "cores", "kernel", "rustc"] {
            assert!(notes.contains(&format!("# {name}")), "{notes}");
        }
    }
}
