//! Standard output. A reader that goes away (`forebay … | head`) is an error like any other here, so
//! that work meant only for the reader ends; it is no trouble for the user, see [`crate::exit`].

use std::fmt::Display;
use std::io::{self, Write};

use buffer::backend::Report;
use lab::progress::{Progress, Unit};

/// Writes one line, or several.
///
/// # Errors
/// If standard output can't be written.
pub fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(named)
}

/// A full disk, with the file that standard output goes to. Other errors stay as they are.
fn named(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::StorageFull {
        return error;
    }
    let file = std::fs::read_link("/proc/self/fd/1");
    let file =
        file.map_or_else(|_| "standard output".to_owned(), |path| path.display().to_string());
    let problem = format!("cannot write {file}: no space is left on its disk; make room there");
    io::Error::new(error.kind(), problem)
}

/// Writes `value` as JSON, indented, with a line's end.
///
/// # Errors
/// If standard output can't be written.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// Writes what was found: as JSON, or one line after the other.
///
/// # Errors
/// If standard output can't be written.
pub(crate) fn found(
    as_json: bool,
    value: impl FnOnce() -> serde_json::Value,
    lines: impl FnOnce() -> Vec<String>,
) -> anyhow::Result<()> {
    if as_json {
        return json(&value());
    }
    for text in lines() {
        line(text)?;
    }
    Ok(())
}

/// Writes what a buffer answers.
///
/// # Errors
/// The same.
pub(crate) fn report(report: Report, as_json: bool) -> anyhow::Result<()> {
    let Report { lines, json, .. } = report;
    found(as_json, || json, || lines)
}

/// How far long work is, on standard error.
pub(crate) fn progress(unit: Unit) -> Progress {
    Progress::new(unit, |line| note(line))
}

/// Tells the person at the terminal something that is not the result. Whoever closed standard error
/// does not want to know.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
