//! Standard output. A reader that goes away (`forebay … | head`) is an error like any other here, so
//! that work meant only for the reader ends; it is no trouble for the user, see [`crate::exit`].

use std::fmt::Display;
use std::io::{self, Write};

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

/// `text` with its control characters written as JSON writes them. What others chose, an id or a
/// payload, must not move the cursor of the terminal it is shown on, nor forge a line of its own.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_as_json_writes_them_and_the_rest_as_it_is() {
        assert_eq!(escaped("\u{1b}[31mred\u{7}\0\r\n\t"), r"\u001b[31mred\u0007\u0000\r\n\t");
        // A terminal may take one of these for an escape and a bracket.
        assert_eq!(escaped("\u{9b}31m\u{7f}"), r"\u009b31m\u007f");
        assert_eq!(escaped("größe \u{fffd} \\ 支払い"), "größe \u{fffd} \\ 支払い");
    }
}
