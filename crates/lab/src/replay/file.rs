//! A file's bytes, unpacked where it is gzipped, counted as they lie on the disk.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// How much of a file's beginning identifies it, in bytes (1 MiB).
const HEAD_BYTES: u64 = 1024 * 1024;
/// What is read from the disk at once, in bytes.
const READ_BYTES: usize = 128 * 1024;
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

/// What tells a file from another at the same path.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Identity {
    pub(super) bytes: u64,
    /// SHA-256 of its first MiB, in hex.
    pub(super) head_sha256: String,
}

/// How far into a file the reader is, in bytes as they lie on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Position(Arc<AtomicU64>);

impl Position {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens a file at its beginning.
pub(super) fn open(path: &Path) -> anyhow::Result<(Identity, Box<dyn BufRead + Send>, Position)> {
    let cant = || format!("{} can't be read; give a file that can", path.display());
    let mut file = File::open(path).with_context(cant)?;
    let bytes = file.metadata().with_context(cant)?.len();
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(HEAD_BYTES).read_to_end(&mut head).with_context(cant)?;
    file.rewind().with_context(cant)?;
    let identity = Identity { bytes, head_sha256: hex(&Sha256::digest(&head)) };
    let position = Position::default();
    let counted = Counted { file, position: position.clone() };
    let counted = BufReader::with_capacity(READ_BYTES, counted);
    let reader: Box<dyn BufRead + Send> = if head.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(counted)))
    } else {
        Box::new(counted)
    };
    Ok((identity, reader, position))
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Counted {
    file: File,
    position: Position,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buf)?;
        self.position.0.fetch_add(read as u64, Ordering::Relaxed);
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
