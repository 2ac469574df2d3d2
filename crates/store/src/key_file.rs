//! The key that card fingerprints are made with: a file of this installation's own.
//!
//! Invariants
//! - The key is never printed, logged or put into an error.
//! - A key file appears whole or not at all, readable by its owner only, and is never overwritten.
//! - No new key is made beside a store that holds payments: under it every card would look new.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a key; twice as many hexadecimal digits in the file.
const KEY_BYTES: usize = 32;
/// What others than the owner may do with the file: nothing.
const OTHERS: u32 = 0o077;

/// Why there is no key, as a sentence that says what to do. It never holds the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// The key in `path`; made there if there is none and no `store` holds payments either: that is
/// what such a store is called.
///
/// # Errors
/// If the file can't be read or written, holds no key, or is missing beside a store.
pub fn key(path: &Path, store: Option<&str>) -> Result<[u8; KEY_BYTES], Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            warn_if_open_to_others(path);
            let advice = "restore it from a backup: without it every card looks new";
            parse(text.trim())
                .ok_or_else(|| Error(format!("{} holds no key; {advice}", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(store) = store {
                return Err(Error(format!(
                    "{} is missing, but the store {store} is there; restore the key from a backup \
                     or copy it from another process of this store, or begin a new store",
                    path.display(),
                )));
            }
            make(path).map_err(|error| {
                Error(format!("can't make the key file {}: {error}", path.display()))
            })
        }
        Err(error) => Err(Error(format!("can't read the key file {}: {error}", path.display()))),
    }
}

/// The refusal of a key that is not the one the store was begun with.
#[must_use]
pub fn another(path: &Path) -> Error {
    Error(format!(
        "the store was begun with another card fingerprint key than the one in {}: every card would \
         look new; copy the key file (cards.key_file) of the process that began it",
        path.display()
    ))
}

fn parse(text: &str) -> Option<[u8; KEY_BYTES]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len().is_multiple_of(2) { bytes.try_into().ok() } else { None }
}

/// Writes a new key beside its place, makes it durable, and then links it into place, which fails
/// if another process was there first; that one's key is then used.
fn make(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&dir)?;
    let key: [u8; KEY_BYTES] = rand::random();
    let text = key.iter().fold(String::with_capacity(2 * KEY_BYTES + 1), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    });
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    File::open(&dir)?.sync_all()?;
    match linked {
        Ok(()) => Ok(key),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let text = std::fs::read_to_string(path)?;
            parse(text.trim()).ok_or_else(|| io::Error::other("it holds no key"))
        }
        Err(error) => Err(error),
    }
}

fn warn_if_open_to_others(path: &Path) {
    let mode = std::fs::metadata(path).map(|meta| Permissions::mode(&meta.permissions()));
    if mode.is_ok_and(|mode| mode & OTHERS != 0) {
        let path = path.display();
        tracing::warn!("{path} can be read by other users; take their rights away: chmod 600");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/key");
        let made = key(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(key(&path, Some("store")).unwrap(), made);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft left");
    }

    #[test]
    fn two_installations_have_two_keys() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name| key(&dir.path().join(name), None).unwrap();
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn no_key_is_made_beside_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let error = key(&path, Some("store")).unwrap_err().to_string();
        assert!(error.contains("restore the key from a backup"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for text in ["", "abc", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", key(&path, None).unwrap_err());
            assert!(error.contains("holds no key"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
