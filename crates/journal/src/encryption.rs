//! Records whose body is encrypted, each for itself: XChaCha20-Poly1305.
//!
//! ```text
//! body: key id (8 bytes) | nonce (24) | encrypted id, key and payload | tag (16)
//! ```
//!
//! The key's id, and so whether it is there, can be read without a key; so can the record's number,
//! time, kind and the lengths of its parts. Kind, time and lengths are authenticated. The CRC covers
//! the encrypted bytes, so that damage is found without a key.
//!
//! Invariants
//! - A nonce is 192 bits from the operating system for each record: no state is kept that a restart, a
//!   restored copy or a cloned machine could repeat.
//! - A segment is encrypted with one key, or not at all: each opening begins a segment.
//! - A record whose key is missing is never passed over: reading fails until the key is there.
//!
//! What it deliberately does not do: notice that a person who may write to the files removed or moved
//! whole records, or added records in plain text.

use bytes::Bytes;
use chacha20poly1305::AeadInOut;

use crate::checkpoint::Checkpoint;
use crate::fs::{Fs, read_full_at};
use crate::keys::{KEY_ID_BYTES, KeyId, Keys};
use crate::record::{self, ENCRYPTED, Entry, HEADER_BYTES, Header};
use crate::segment::{self, RECORD_BYTES_MAX, SEGMENT_HEADER_BYTES};
use crate::{Error, Options};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const PREFIX_BYTES: usize = KEY_ID_BYTES + NONCE_BYTES;
/// Bytes by which encryption makes a body longer.
pub(crate) const ADDED_BYTES: usize = PREFIX_BYTES + TAG_BYTES;

/// Entries whose bodies are encrypted.
pub(crate) struct Encrypted<'a> {
    entries: &'a [Entry<'a>],
    bodies: Vec<u8>,
}

impl<'a> Encrypted<'a> {
    /// Encrypts the bodies with the first of `keys`.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub(crate) fn new(keys: &Keys, entries: &'a [Entry<'a>]) -> Result<Self, Error> {
        let mut nonces = vec![[0; NONCE_BYTES]; entries.len()];
        getrandom::fill(nonces.as_flattened_mut())
            .map_err(|e| Error::io("get random bytes", &e.into()))?;
        let plain: usize = entries.iter().map(|entry| entry.body.len()).sum();
        let mut bodies = Vec::with_capacity(plain + entries.len() * ADDED_BYTES);
        let key = keys.primary();
        for (entry, nonce) in entries.iter().zip(&nonces) {
            bodies.extend_from_slice(&key.id.0);
            bodies.extend_from_slice(nonce);
            let start = bodies.len();
            bodies.extend_from_slice(entry.body);
            let associated = associated(entry.kind, entry.at_ms, entry.id_len, entry.key_len);
            let body = (&mut bodies[start..]).into();
            let tag = key.cipher.encrypt_inout_detached(nonce.into(), &associated, body);
            bodies.extend_from_slice(&tag.expect("a body is far shorter than the cipher's bound"));
        }
        Ok(Self { entries, bodies })
    }

    /// The entries, as they are to be written.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let mut rest = &self.bodies[..];
        let written = self.entries.iter().map(|entry| {
            let (body, others) = rest.split_at(entry.body.len() + ADDED_BYTES);
            rest = others;
            Entry { body, ..*entry }
        });
        written.collect()
    }
}

/// The body of a record as it was appended; `None` if the key is there and the bytes are not what it
/// encrypted.
///
/// # Errors
/// [`Error::Key`] if the record's key is not among `keys`.
pub fn decrypt(keys: Option<&Keys>, header: &Header, body: Bytes) -> Result<Option<Bytes>, Error> {
    if header.flags & ENCRYPTED == 0 {
        return Ok(Some(body));
    }
    let Some(id) = key_id(header, &body) else { return Ok(None) };
    let Some(key) = keys.and_then(|keys| keys.get(id)) else {
        return Err(Error::Key(format!(
            "cannot read record {}: {}",
            header.seq,
            missing(keys, id)
        )));
    };
    let Some((rest, tag)) = body[PREFIX_BYTES..].split_last_chunk::<TAG_BYTES>() else {
        return Ok(None);
    };
    let nonce: &[u8; NONCE_BYTES] = body[KEY_ID_BYTES..].first_chunk().expect("looked at above");
    let mut plain = rest.to_vec();
    let associated = associated(header.kind, header.at_ms, header.id_len, header.key_len);
    let in_place = (&mut plain[..]).into();
    let opened = key.cipher.decrypt_inout_detached(nonce.into(), &associated, in_place, tag.into());
    let parts = usize::from(header.id_len) + usize::from(header.key_len);
    Ok((opened.is_ok() && parts <= plain.len()).then(|| plain.into()))
}

/// The key that a record is encrypted with, if it is.
#[must_use]
pub fn key_id(header: &Header, body: &[u8]) -> Option<KeyId> {
    let prefix = body.first_chunk::<PREFIX_BYTES>().filter(|_| header.flags & ENCRYPTED != 0)?;
    prefix.first_chunk().map(|id| KeyId(*id))
}

/// Looks, without changing anything, whether each segment that is not done can be read with the keys in
/// `options`.
///
/// # Errors
/// [`Error::Key`] if a key is missing, [`Error::Io`] if a segment can't be read.
pub fn check(fs: &dyn Fs, options: &Options) -> Result<(), Error> {
    let (dir, keys) = (&options.dir, options.keys.as_deref());
    let failed = |e| Error::io(format!("read {}", dir.display()), &e);
    let paths = match fs.list(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(failed)?,
    };
    let mut bases: Vec<u64> = paths.iter().filter_map(|path| segment::base(path)).collect();
    bases.sort_unstable();
    let floor = Checkpoint::read(fs, dir)?.unwrap_or_default().floor;
    for (n, &base) in bases.iter().enumerate() {
        if bases.get(n + 1).is_some_and(|next| *next <= floor) {
            continue;
        }
        let Some(id) = first_key(fs, &segment::path(dir, base)).map_err(failed)? else { continue };
        if keys.and_then(|keys| keys.get(id)).is_none() {
            let why = missing(keys, id);
            return Err(Error::Key(format!("cannot open the journal in {}: {why}", dir.display())));
        }
    }
    Ok(())
}

/// The key that a segment is encrypted with, as its first valid record says.
fn first_key(fs: &dyn Fs, path: &std::path::Path) -> std::io::Result<Option<KeyId>> {
    let file = match fs.open(path, false) {
        // Removed meanwhile by the process that has the log: all of it was done.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    read_full_at(&*file, &mut bytes, RECORD_BYTES_MAX, SEGMENT_HEADER_BYTES)?;
    let found = record::find(&bytes, 0, 0);
    Ok(found.and_then(|(at, header)| key_id(&header, &bytes[at + HEADER_BYTES..])))
}

fn missing(keys: Option<&Keys>, id: KeyId) -> String {
    match keys {
        None => format!("it is encrypted with key {id}, and no key is given; name its key file"),
        Some(_) => format!(
            "it is encrypted with key {id}, which is not among the keys given; add that key to them"
        ),
    }
}

fn associated(kind: u8, at_ms: i64, id_len: u8, key_len: u8) -> [u8; 11] {
    let mut bytes = [0; 11];
    (bytes[0], bytes[1], bytes[2]) = (kind, id_len, key_len);
    bytes[3..].copy_from_slice(&at_ms.to_le_bytes());
    bytes
}
