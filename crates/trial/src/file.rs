//! The files of a folder: `NUMBER` holds one event.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use buffer::backend::Held;
use bytes::Bytes;
use model::Event;
use model::clock::EpochMs;

/// The time and the lengths of id and key come before an event's bytes.
const HEAD_BYTES: usize = size_of::<EpochMs>() + 2;

/// Writes an event under a number of its own.
pub(crate) fn write(
    folder: &Path,
    number: u64,
    accepted_at_ms: EpochMs,
    event: &Event,
) -> Result<PathBuf, Error> {
    let length = |part: &[u8]| u8::try_from(part.len()).expect("an event bounds its id and key");
    let mut bytes = accepted_at_ms.to_le_bytes().to_vec();
    bytes.extend([length(event.id()), length(event.key())]);
    bytes.extend(event.as_bytes());
    let (path, unfinished) = (folder.join(number.to_string()), folder.join("unfinished"));
    fs::write(&unfinished, bytes)?;
    fs::rename(unfinished, &path)?;
    Ok(path)
}

/// The numbers of all events, in order; none where the folder is missing.
pub(crate) fn numbers(folder: &Path) -> Result<Vec<u64>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads an event; nothing where it was settled meanwhile.
pub(crate) fn read(folder: &Path, number: u64) -> Result<Option<Held>, Error> {
    let path = folder.join(number.to_string());
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => Bytes::from(bytes?),
    };
    let wrong = || {
        let problem = format!("{} holds no event; remove it", path.display());
        Error::new(ErrorKind::InvalidData, problem)
    };
    let Some((time, [id, key])) = bytes.first_chunk::<HEAD_BYTES>().and_then(|head| {
        let (time, lengths) = head.split_first_chunk()?;
        Some((EpochMs::from_le_bytes(*time), *lengths.first_chunk()?))
    }) else {
        return Err(wrong());
    };
    let event = Event::from_parts(bytes.slice(HEAD_BYTES..), id.into(), key.into());
    let event = event.map_err(|_| wrong())?;
    Ok(Some(Held { seq: number, accepted_at_ms: time, event }))
}
