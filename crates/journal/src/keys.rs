//! The keys that records are encrypted with.
//!
//! A text of keys has one key to a line: 32 bytes, as base64 or as hexadecimal digits. Blank lines, and
//! lines that begin with `#`, are passed over. The first key encrypts, and each of them decrypts: a new
//! key is put in front of the old ones, and an old one is removed once no record needs it.
//!
//! Invariants
//! - No key is in an error, in a log or in debug output. A key's id says which key it is, and nothing
//!   of the key.
//! - A file that other users may read is refused.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use sha2::{Digest, Sha256};

use crate::Error;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes of a key's id.
pub(crate) const KEY_ID_BYTES: usize = 8;
/// Bytes of a text of keys, at most.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// What others than the owner may do with a key file: nothing.
const OTHERS: u32 = 0o077;
/// What goes before a key where its id is computed.
const ID_DOMAIN: &[u8] = b"forebay journal key id 1";
const ADVICE: &str = "write 32 bytes as base64 or as 64 hexadecimal digits, one key to a line \
                      (`openssl rand -base64 32` makes one)";

/// Which key it is: the beginning of a SHA-256 over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; KEY_ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Keys, at least one. The first encrypts.
pub struct Keys(Vec<Key>);

pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) cipher: XChaCha20Poly1305,
}

impl Keys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// [`Error::Key`] if the file can't be read, can be read by others than its owner, holds no key,
    /// or holds a line that is none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let place = format!("the key file {}", path.display());
        let unreadable = |e| Error::Key(format!("cannot read {place}: {e}; name a file of keys"));
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            let path = path.display();
            return Err(Error::Key(format!(
                "cannot use {place}: other users may read it (mode {mode:03o}); run `chmod 600 {path}`"
            )));
        }
        let mut text = String::new();
        let read = file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if u64::try_from(read).is_ok_and(|bytes| bytes > TEXT_BYTES_MAX) {
            return Err(Error::Key(format!(
                "cannot use {place}: it is longer than {TEXT_BYTES_MAX} bytes; {ADVICE}"
            )));
        }
        Self::parse(&place, &text)
    }

    /// Reads a text of keys; `place` says where it is from.
    ///
    /// # Errors
    /// [`Error::Key`] if it holds no key, or a line that is none.
    pub fn parse(place: &str, text: &str) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = key(line).ok_or_else(|| {
                Error::Key(format!("cannot use {place}: line {} is no key; {ADVICE}", n + 1))
            })?;
            keys.push(Key::new(&key));
        }
        if keys.is_empty() {
            return Err(Error::Key(format!("cannot use {place}: it holds no key; {ADVICE}")));
        }
        Ok(Self(keys))
    }

    /// The key that encrypts.
    #[must_use]
    pub fn first(&self) -> KeyId {
        self.primary().id
    }

    pub(crate) fn primary(&self) -> &Key {
        self.0.first().expect("there is at least one")
    }

    pub(crate) fn get(&self, id: KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| key.id)).finish()
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|key| key.id).eq(other.0.iter().map(|key| key.id))
    }
}

impl Eq for Keys {}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let hash = Sha256::new().chain_update(ID_DOMAIN).chain_update(bytes).finalize();
        let id = KeyId(*hash.first_chunk().expect("a hash is longer than an id"));
        Self { id, cipher: XChaCha20Poly1305::new(bytes.into()) }
    }
}

fn key(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() == 2 * KEY_BYTES {
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect();
        let pairs = digits?;
        let bytes: Vec<u8> = pairs.as_chunks::<2>().0.iter().map(|[h, l]| h << 4 | l).collect();
        return bytes.try_into().ok();
    }
    let decoded = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
    decoded.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn check(text: &str, expect: Result<usize, &str>) {
        match (Keys::parse("the text", text), expect) {
            (Ok(keys), Ok(count)) => assert_eq!(keys.0.len(), count, "{text}"),
            (Err(error), Err(expect)) => {
                assert!(error.to_string().starts_with(expect), "{error}");
                let shown =
                    text.lines().any(|line| line.len() > 3 && error.to_string().contains(line));
                assert!(!shown, "a part of the text is shown: {error}");
            }
            (got, expect) => panic!("{text}: got {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn a_key_is_base64_or_hexadecimal_and_the_first_one_encrypts() {
        check(&format!("# mine\n{BASE64}\n\n  {HEX}  \n"), Ok(2));
        check(BASE64.trim_end_matches('='), Ok(1));
        let (a, b) = (Keys::parse("a", BASE64).unwrap(), Keys::parse("b", HEX).unwrap());
        assert_eq!(a, b, "two spellings of one key");
        check("", Err("cannot use the text: it holds no key; write 32 bytes"));
        check(&format!("{HEX}\nsecret"), Err("cannot use the text: line 2 is no key; write"));
        check(&HEX[2..], Err("cannot use the text: line 1 is no key"));
        check(&format!("{}é", &HEX[2..]), Err("cannot use the text: line 1 is no key"));
    }

    #[test]
    fn debug_output_holds_no_key() {
        let keys = Keys::parse("the text", HEX).unwrap();
        let shown = format!("{keys:?} {}", keys.first());
        assert!(!shown.contains("0102030405") && !shown.contains("1, 2, 3, 4, 5"), "{shown}");
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(Keys::read(&path).unwrap_err().to_string().starts_with("cannot read the key file"));
        std::fs::write(&path, HEX).unwrap();
        for (mode, usable) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = Keys::read(&path);
            assert_eq!(read.is_ok(), usable, "mode {mode:o}: {read:?}");
        }
    }
}
