//! Lines out of a stream of chunks, in bounded memory.
//!
//! A line that lies in one chunk is a slice of it; only a line across chunks is copied together. A
//! line past the bound is dropped as it comes, and told of when it ends.

use bytes::{Bytes, BytesMut};

/// One line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number, from 1; blank lines count.
    pub(crate) number: u64,
    /// Its bytes without the line's end, or `None` when there are more than the bound.
    pub(crate) bytes: Option<Bytes>,
}

/// The splitter: holds at most one line's bound of a line that has not ended yet.
#[derive(Debug)]
pub(crate) struct Lines {
    line_bytes_max: usize,
    /// The number of the line that is being put together.
    number: u64,
    begun: BytesMut,
    /// The line that is being put together is past the bound: the rest of it is dropped.
    overlong: bool,
}

impl Lines {
    /// `line_bytes_max` is the longest line, in bytes, without its end.
    pub(crate) fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, number: 1, begun: BytesMut::new(), overlong: false }
    }

    /// The number of the first line that has not been returned.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Takes the next line out of `chunk`; `None` once `chunk` is used up.
    pub(crate) fn next(&mut self, chunk: &mut Bytes) -> Option<Line> {
        while let Some(at) = chunk.iter().position(|&byte| byte == b'\n') {
            let mut piece = chunk.split_to(at + 1);
            piece.truncate(at);
            if let Some(line) = self.complete(piece) {
                return Some(line);
            }
        }
        self.keep(chunk);
        chunk.clear();
        None
    }

    /// The last line, if the stream ended without a line's end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        self.complete(Bytes::new())
    }

    fn complete(&mut self, piece: Bytes) -> Option<Line> {
        let number = self.number;
        self.number += 1;
        let whole = if self.begun.is_empty() && !self.overlong {
            piece
        } else {
            self.keep(&piece);
            self.begun.split().freeze()
        };
        if std::mem::take(&mut self.overlong) {
            return Some(Line { number, bytes: None });
        }
        let whole = match whole.last() {
            Some(b'\r') => whole.slice(..whole.len() - 1),
            _ => whole,
        };
        if whole.trim_ascii().is_empty() {
            return None;
        }
        let fits = whole.len() <= self.line_bytes_max;
        Some(Line { number, bytes: fits.then_some(whole) })
    }

    fn keep(&mut self, piece: &[u8]) {
        // One byte more than the bound may be a carriage return that does not count.
        if self.overlong || self.begun.len() + piece.len() > self.line_bytes_max + 1 {
            self.overlong = true;
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts `text` into chunks of every size and expects the same lines each time.
    fn check(line_bytes_max: usize, text: &str, expect: &[(u64, Option<&str>)]) {
        for size in 1..=text.len().max(1) {
            let mut lines = Lines::new(line_bytes_max);
            let mut got = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                let mut chunk = Bytes::copy_from_slice(chunk);
                while let Some(line) = lines.next(&mut chunk) {
                    got.push(line);
                }
                assert!(lines.begun.len() <= line_bytes_max + 1);
            }
            got.extend(lines.finish());
            let expect: Vec<Line> = expect
                .iter()
                .map(|&(number, text)| Line {
                    number,
                    bytes: text.map(|text| Bytes::copy_from_slice(text.as_bytes())),
                })
                .collect();
            assert_eq!(got, expect, "in chunks of {size}");
        }
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut_into_chunks() {
        check(8, "one\ntwo\nthree\n", &[(1, Some("one")), (2, Some("two")), (3, Some("three"))]);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        check(8, "one\ntwo", &[(1, Some("one")), (2, Some("two"))]);
        check(8, "one", &[(1, Some("one"))]);
    }

    #[test]
    fn carriage_returns_before_the_end_do_not_count() {
        check(3, "one\r\ntwo\r\n", &[(1, Some("one")), (2, Some("two"))]);
        check(3, "one\r", &[(1, Some("one"))]);
    }

    #[test]
    fn blank_lines_are_passed_over_but_counted() {
        check(8, "\n \t\none\n\r\n\ntwo\n\n", &[(3, Some("one")), (6, Some("two"))]);
        check(8, "", &[]);
    }

    #[test]
    fn a_line_one_past_the_bound_is_told_of_and_the_next_is_read() {
        check(3, "one\ntwos\nsix\n", &[(1, Some("one")), (2, None), (3, Some("six"))]);
        check(3, "twos\r\nsix", &[(1, None), (2, Some("six"))]);
        check(3, "six\nmuch longer than that", &[(1, Some("six")), (2, None)]);
    }
}
