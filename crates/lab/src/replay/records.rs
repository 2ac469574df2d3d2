//! The records of a CSV file (RFC 4180), in bounded memory.
//!
//! A record may have several lines, within quotes. A quote that is never closed would take all
//! records behind it into one, so what a quote holds together is bounded and checked: where it does
//! not make a record, its first line is rejected alone, and the next line begins a record.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::lines::{Line, Lines};

/// The longest line or record, in bytes (1 MiB).
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// What lines must end with.
pub(super) const ENDS: &str = "lines must end with LF, or CR and LF; convert the file";
/// The most lines of one record.
const RECORD_LINES_MAX: usize = 1_000;

/// Reads the records of a CSV file. Blank lines between them are passed over.
pub(super) struct Records<R> {
    lines: Lines<R>,
    /// Lines that were read and are to be read again; `None` is one past the bound.
    ahead: VecDeque<Option<Vec<u8>>>,
    /// The number, from 1, of the line that was taken last.
    number: u64,
    parser: Reader,
    delimiter: u8,
    /// How many columns each record must have; 0 before the header is read.
    columns: usize,
    record: Record,
}

/// The columns of one record.
#[derive(Debug, Default)]
pub(super) struct Record {
    text: Vec<u8>,
    ends: Vec<usize>,
    columns: usize,
}

impl Record {
    pub(super) fn len(&self) -> usize {
        self.columns
    }

    /// The column at `at`, which is below [`Record::len`].
    pub(super) fn get(&self, at: usize) -> &[u8] {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[begin..self.ends[at]]
    }
}

/// What was found at a line.
pub(super) type Found<'a> = Result<&'a Record, String>;

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R, delimiter: u8) -> Self {
        let parser =
            ReaderBuilder::new().terminator(Terminator::Any(b'\n')).delimiter(delimiter).build();
        Self {
            lines: Lines::new(input, RECORD_BYTES_MAX),
            ahead: VecDeque::new(),
            number: 0,
            parser,
            delimiter,
            columns: 0,
            record: Record::default(),
        }
    }

    /// The next record, or why the line at which one begins is none; with the number of that line.
    /// The first record is the header, and the others must have as many columns.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Found<'_>)>> {
        let first = loop {
            match self.take()? {
                None => return Ok(None),
                Some(Some(line)) if line.trim_ascii().is_empty() => {}
                Some(line) => break line,
            }
        };
        let begin = self.number;
        let Some(first) = first else {
            let problem = format!("the line is longer than {RECORD_BYTES_MAX} bytes; {ENDS}");
            return Ok(Some((begin, Err(problem))));
        };
        let problem = self.assemble(first)?;
        Ok(Some((begin, problem.map_or(Ok(&self.record), Err))))
    }

    /// Reads the record that begins with the line `first`. What is wrong with it, if anything is; then
    /// the lines behind the first are read again.
    fn assemble(&mut self, first: Vec<u8>) -> io::Result<Option<String>> {
        self.parser.reset();
        self.record.columns = 0;
        let mut later: Vec<Option<Vec<u8>>> = Vec::new();
        let (mut written, mut bytes) = (0, first.len());
        let mut whole = self.feed(&first, &mut written);
        while !whole && later.len() + 1 < RECORD_LINES_MAX && bytes <= RECORD_BYTES_MAX {
            let Some(line) = self.take()? else { break };
            later.push(line);
            let Some(Some(line)) = later.last() else { break };
            bytes += line.len() + 1;
            whole = self.feed(line, &mut written);
        }
        let lines = || std::iter::once(&first).chain(later.iter().flatten());
        let problem = if !whole || (!later.is_empty() && !is_closed(lines(), self.delimiter)) {
            Some("a quote opens in this line and is not closed; close it, or double it".to_owned())
        } else if self.columns != 0 && self.record.columns != self.columns {
            Some(format!("the record must have {} columns, as the header has", self.columns))
        } else {
            self.columns = self.record.columns;
            return Ok(None);
        };
        self.number -= later.len() as u64;
        for line in later.into_iter().rev() {
            self.ahead.push_front(line);
        }
        Ok(problem)
    }

    /// Hands a line to the parser. Whether it ends a record.
    fn feed(&mut self, line: &[u8], written: &mut usize) -> bool {
        let Record { text, ends, columns } = &mut self.record;
        for mut part in [line, b"\n"] {
            loop {
                let (result, read, wrote, ended) =
                    self.parser.read_record(part, &mut text[*written..], &mut ends[*columns..]);
                part = &part[read..];
                *written += wrote;
                *columns += ended;
                match result {
                    ReadRecordResult::OutputFull => text.resize((text.len() * 2).max(1 << 10), 0),
                    ReadRecordResult::OutputEndsFull => ends.resize((ends.len() * 2).max(64), 0),
                    ReadRecordResult::Record => return true,
                    // An empty part would say that the file has ended.
                    ReadRecordResult::InputEmpty | ReadRecordResult::End => break,
                }
            }
        }
        false
    }

    fn take(&mut self) -> io::Result<Option<Option<Vec<u8>>>> {
        let line = match self.ahead.pop_front() {
            Some(line) => Some(line),
            None => self.lines.next()?.map(|line| match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::Overlong => None,
            }),
        };
        self.number += u64::from(line.is_some());
        Ok(line)
    }
}

/// Whether each quote that closes in a later line than it opens is followed by a delimiter or the
/// end of the line. Others were not meant to close what they close.
fn is_closed<'a>(lines: impl Iterator<Item = &'a Vec<u8>>, delimiter: u8) -> bool {
    let (mut in_quotes, mut across) = (false, false);
    for line in lines {
        across = in_quotes;
        let (mut at, mut begins) = (0, !in_quotes);
        while let Some(&byte) = line.get(at) {
            at += 1;
            if in_quotes {
                if byte != b'"' {
                    continue;
                }
                match line.get(at) {
                    Some(b'"') => at += 1,
                    Some(next) if across && *next != delimiter => return false,
                    _ => (in_quotes, across) = (false, false),
                }
                continue;
            }
            in_quotes = byte == b'"' && begins;
            begins = byte == delimiter;
        }
    }
    !in_quotes && !across
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and columns of each record, or the line alone where it is none.
    fn check(text: &str, expect: &[(u64, Option<&[&str]>)]) {
        let mut records = Records::new(text.as_bytes(), b',');
        let mut found = Vec::new();
        while let Some((line, record)) = records.next().unwrap() {
            let columns = record.ok().map(|record| {
                let text = |at| String::from_utf8(record.get(at).to_vec()).unwrap();
                (0..record.len()).map(text).collect::<Vec<_>>()
            });
            found.push((line, columns));
        }
        let found: Vec<_> = found
            .iter()
            .map(|(line, columns)| {
                (*line, columns.as_ref().map(|c| c.iter().map(String::as_str).collect::<Vec<_>>()))
            })
            .collect();
        let expect: Vec<_> =
            expect.iter().map(|(line, columns)| (*line, columns.map(<[&str]>::to_vec))).collect();
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn quotes_hold_delimiters_quotes_and_lines_together() {
        let header = (1, Some(&["a", "b"][..]));
        check(
            "a,b\r\n\r\n\"1,2\",\"x\"\"y\"\r\n3,",
            &[header, (3, Some(&["1,2", "x\"y"])), (4, Some(&["3", ""]))],
        );
        check(
            "a,b\n\"1\n2\",\"\n\"\n3,4\n",
            &[header, (2, Some(&["1\n2", "\n"])), (5, Some(&["3", "4"]))],
        );
        check("a,b\n1,x\"y\n", &[header, (2, Some(&["1", "x\"y"]))]);
        check("", &[]);
    }

    #[test]
    fn a_quote_that_is_not_closed_takes_its_own_line_alone() {
        let (header, three) = ((1, Some(&["a", "b"][..])), (3, Some(&["3", "4"][..])));
        check("a,b\n1,\"2\n3,4\n", &[header, (2, None), three]);
        check("a,b\n1,\"2\n3,4\n5,\"6\"\n", &[header, (2, None), three, (4, Some(&["5", "6"]))]);
        check(
            "a,b\n1,\"2\n3,4\n5,\"6\n7,8",
            &[header, (2, None), three, (4, None), (5, Some(&["7", "8"]))],
        );
        // A quote further down closes it, and the record has too many columns.
        check("a,b\n1,\"2\n3,4\n5\",6,7\n", &[header, (2, None), three, (4, None)]);
    }

    #[test]
    fn what_a_quote_holds_together_is_bounded() {
        let lines = "3,4\n".repeat(2 * RECORD_LINES_MAX);
        let mut records =
            Records::new(io::Cursor::new(format!("a,b\n1,\"2\n{lines}5,\"6\"\n")), b',');
        let (mut good, mut bad) = (0, Vec::new());
        while let Some((line, record)) = records.next().unwrap() {
            match record {
                Ok(_) => good += 1,
                Err(problem) => bad.push((line, problem)),
            }
        }
        assert_eq!(good, 2 * RECORD_LINES_MAX + 2);
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].0, 2);
        assert!(bad[0].1.starts_with("a quote opens in this line"), "{bad:?}");
    }
}
