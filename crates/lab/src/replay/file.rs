//! A file's bytes, unpacked where it is gzipped, counted and digested as they lie on the disk.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use sha2::{Digest, Sha256};

use super::gunzip::Gunzip;

/// What is read from the disk at once, in bytes.
const READ_BYTES: usize = 128 * 1024;
/// How much is looked at to tell what a file is, in bytes.
const PEEK_BYTES: u64 = 4;
/// What a gzip member begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What the records of a file are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated (or otherwise), with a header.
    Csv,
    /// One JSON object to a line.
    Ndjson,
}

impl Format {
    /// What a file's name says: `.csv`, `.ndjson` or `.jsonl`, each also with `.gz`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// What was read of a file, which tells it from another at the same path.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Seen {
    /// Bytes read, from the first on, as they lie on the disk.
    pub(super) bytes: u64,
    /// SHA-256 of these bytes, in hex.
    pub(super) sha256: String,
}

impl Seen {
    /// Whether `file` still begins with these bytes. Reads them all, once.
    pub(super) fn begins(&self, file: &Path) -> io::Result<bool> {
        let mut file = BufReader::with_capacity(READ_BYTES, File::open(file)?.take(self.bytes));
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        loop {
            let chunk = file.fill_buf()?;
            if chunk.is_empty() {
                return Ok(bytes == self.bytes && hex(&digest.finalize()) == self.sha256);
            }
            digest.update(chunk);
            let used = chunk.len();
            bytes += used as u64;
            file.consume(used);
        }
    }
}

/// How far into a file the reader is.
#[derive(Debug, Clone, Default)]
pub(super) struct Position(Arc<Mutex<(u64, Sha256)>>);

impl Position {
    /// All that the reader has read so far.
    pub(super) fn seen(&self) -> Seen {
        let (bytes, digest) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Seen { bytes, sha256: hex(&digest.finalize()) }
    }

    fn advance(&self, read: &[u8]) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.0 += read.len() as u64;
        at.1.update(read);
    }
}

/// A file at its beginning.
pub(super) struct Opened {
    /// Its size, in bytes.
    pub(super) bytes: u64,
    pub(super) reader: Box<dyn BufRead + Send>,
    pub(super) position: Position,
}

/// What is read once, as standard input. It has no size, and is not the same when it is read again.
pub(super) fn piped(input: Box<dyn Read + Send>) -> Opened {
    let position = Position::default();
    let counted = Counted { file: input, position: position.clone() };
    Opened { bytes: 0, reader: Box::new(Piped::Waiting(Some(counted))), position }
}

/// An input of which nothing is read before its reader asks: until then it may keep one waiting.
enum Piped {
    Waiting(Option<Counted<Box<dyn Read + Send>>>),
    Reading(Box<dyn BufRead + Send>),
}

impl BufRead for Piped {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Self::Waiting(input) = self {
            let input = input.take().ok_or_else(|| io::Error::other("it could not be read"))?;
            let reader = unpacked(input, "standard input");
            *self = Self::Reading(reader.map_err(|e| io::Error::other(format!("{e:#}")))?);
        }
        match self {
            Self::Reading(reader) => reader.fill_buf(),
            Self::Waiting(_) => Ok(&[]),
        }
    }

    fn consume(&mut self, bytes: usize) {
        if let Self::Reading(reader) = self {
            reader.consume(bytes);
        }
    }
}

impl Read for Piped {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buf)?;
        self.consume(read);
        Ok(read)
    }
}

/// Opens a file at its beginning.
pub(super) fn open(path: &Path) -> anyhow::Result<Opened> {
    let cant = || format!("{} can't be read; give a file that can", path.display());
    let file = File::open(path).with_context(cant)?;
    let bytes = file.metadata().with_context(cant)?.len();
    let position = Position::default();
    let counted = Counted { file, position: position.clone() };
    let reader = unpacked(counted, &path.display().to_string()).with_context(cant)?;
    Ok(Opened { bytes, reader, position })
}

/// The text in `input`, unpacked where it is gzipped. `name` is what messages call it.
fn unpacked(
    input: impl Read + Send + 'static,
    name: &str,
) -> anyhow::Result<Box<dyn BufRead + Send>> {
    let (head, plain) = peek(BufReader::with_capacity(READ_BYTES, input))?;
    let (head, reader): (_, Box<dyn BufRead + Send>) = if head.starts_with(&GZIP) {
        let (head, text) = peek(BufReader::with_capacity(READ_BYTES, Gunzip::new(plain)))?;
        (head, Box::new(text))
    } else {
        (head, Box::new(plain))
    };
    if is_utf16(&head) {
        bail!("{name} is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8");
    }
    Ok(reader)
}

/// Whether text that begins with `head` is UTF-16: by its byte order mark, or by the zeros beside its
/// first two characters, which are ASCII in CSV and JSON.
fn is_utf16(head: &[u8]) -> bool {
    let zeros: Vec<bool> = head.iter().map(|byte| *byte == 0).collect();
    let is_marked = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    is_marked || matches!(zeros[..], [false, true, false, true] | [true, false, true, false])
}

/// The first few bytes of `reader`, and all of it.
fn peek<R: BufRead>(mut reader: R) -> io::Result<(Vec<u8>, impl BufRead + use<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(PEEK_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Counted<R> {
    file: R,
    position: Position,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buf)?;
        self.position.advance(&buf[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format() {
        let check = |name: &str, format| assert_eq!(Format::of(Path::new(name)), format, "{name}");
        check("a/b.csv", Some(Format::Csv));
        check("b.CSV.GZ", Some(Format::Csv));
        check("b.ndjson.gz", Some(Format::Ndjson));
        check("b.jsonl", Some(Format::Ndjson));
        check("b.parquet", None);
        check("csv", None);
    }
}
