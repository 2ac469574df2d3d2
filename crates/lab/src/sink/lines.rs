//! A stream of lines.

use std::io::{self, Write};

use async_trait::async_trait;
use model::Event;

use super::{Error, Offered, Sink};

/// Writes one JSON payload to a line. Writing blocks: meant for a program that does nothing else,
/// with standard output or a file, which is passed in.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    batch: Vec<u8>,
}

impl<W: Write + Send> Lines<W> {
    /// Lines go to `out`. Each batch is one write, so `out` needs no buffer of its own.
    pub fn new(out: W) -> Self {
        Self { out, batch: Vec::new() }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }
}

#[async_trait]
impl<W: Write + Send> Sink for Lines<W> {
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
        self.batch.clear();
        for event in events {
            append_line(event.payload(), &mut self.batch);
        }
        self.out
            .write_all(&self.batch)
            .and_then(|()| self.out.flush())
            .map_err(|error| failure(&error))?;
        Ok(Offered::accepted(events.len()))
    }
}

/// A payload as one line. A line break in JSON can only be white space between its parts.
pub(super) fn append_line(payload: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(payload);
    if payload.contains(&b'\n') {
        for byte in out[from..].iter_mut().filter(|byte| **byte == b'\n') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
}

fn failure(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::ReaderGone;
    }
    Error::Fatal(format!("the output can't be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_event_is_one_line_whatever_white_space_it_holds() {
        let events = [
            Event::new(b"a", b"", b"{\"a\":1}").unwrap(),
            Event::new(b"b", b"", b"{\n \"b\":2\n}").unwrap(),
        ];
        let mut lines = Lines::new(Vec::new());
        assert_eq!(lines.offer(&events).await, Ok(Offered::accepted(2)));
        assert_eq!(lines.into_inner(), b"{\"a\":1}\n{  \"b\":2 }\n");
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_told_from_a_full_disk() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let events = [Event::new(b"a", b"", b"{}").unwrap()];
        let gone = Lines::new(Fails(io::ErrorKind::BrokenPipe)).offer(&events).await;
        assert_eq!(gone, Err(Error::ReaderGone));
        let full = Lines::new(Fails(io::ErrorKind::StorageFull)).offer(&events).await;
        assert!(matches!(full, Err(Error::Fatal(_))), "{full:?}");
    }
}
