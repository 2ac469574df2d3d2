//! Lines in bounded memory.

use std::io::{self, BufRead};

/// Reads lines of which at most `bytes_max` bytes are ever held.
pub(super) struct Lines<R> {
    reader: R,
    bytes_max: usize,
    line: Vec<u8>,
    number: u64,
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    /// Longer than the bound; passed over.
    Overlong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, bytes_max: usize) -> Self {
        Self { reader, bytes_max, line: Vec::new(), number: 0 }
    }

    /// The number, from 1, of the line returned last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line, or `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut overlong, mut any) = (false, false);
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            any = true;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let piece = &chunk[..end.unwrap_or(chunk.len())];
            if self.line.len() + piece.len() > self.bytes_max {
                overlong = true;
            } else {
                self.line.extend_from_slice(piece);
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        if overlong {
            return Ok(Some(Line::Overlong));
        }
        let mut line = &self.line[..];
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        Ok(Some(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Option<&str>]) {
        // A tiny buffer, so that lines lie across its refills.
        let mut lines = Lines::new(io::BufReader::with_capacity(3, text.as_bytes()), 5);
        for (number, expected) in (1..).zip(expected) {
            let line = lines.next().unwrap().unwrap();
            assert_eq!(line, expected.map_or(Line::Overlong, |text| Line::Whole(text.as_bytes())));
            assert_eq!(lines.number(), number);
        }
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn lines_end_with_any_line_end_or_none() {
        check("ab\ncde\r\n\nf", &[Some("ab"), Some("cde"), Some(""), Some("f")]);
        check("", &[]);
        check("\n", &[Some("")]);
    }

    #[test]
    fn a_line_past_the_bound_is_passed_over_and_its_neighbours_are_not() {
        check("12345\n123456\n1234567890\nab", &[Some("12345"), None, None, Some("ab")]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        check("\u{feff}a\nb", &[Some("a"), Some("b")]);
    }
}
