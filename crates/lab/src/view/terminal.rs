//! What a view needs of the process that it shows.

use std::io;

/// How a process writes lines, and holds them back while a picture fills the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Writes one line to standard output.
    pub line: fn(&str) -> io::Result<()>,
    /// Holds log lines from now on: they would tear the picture.
    pub hold: fn(),
    /// Writes the log lines that were held, and from now on every line at once.
    pub let_go: fn(),
}
