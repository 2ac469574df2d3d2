//! Standard output. A reader that goes away (`forebay … | head`) is an error like any other here, so
//! that work meant only for the reader ends; it is no trouble for the user, see [`crate::exit`].

use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line, or several.
///
/// # Errors
/// If standard output can't be written.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes `value` as JSON, indented, with a line's end.
///
/// # Errors
/// If standard output can't be written.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// Tells the person at the terminal something that is not the result. Whoever closed standard error
/// does not want to know.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
