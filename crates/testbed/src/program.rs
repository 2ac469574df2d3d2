//! The programs that are started: where they are, and whom they run as.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// Where Debian keeps PostgreSQL's programs, one folder a version, outside the search path.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// The path of `name`, which the Debian package `package` brings.
///
/// # Errors
/// If it is not there; the error says what to install.
pub(crate) fn find(name: &str, package: &str) -> Result<PathBuf> {
    find_in("", name, package)
}

/// As [`find`]; looks into `folder` too, wherever it is not in the search path.
pub(crate) fn find_in(folder: &str, name: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if !folder.is_empty() {
        folders.push(folder.into());
    }
    folders.extend(versions(Path::new(POSTGRES_VERSIONS)));
    folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file()).ok_or_else(
        || anyhow!("`{name}` is missing: install it, on Debian with `apt-get install {package}`"),
    )
}

/// The folders of programs of each installed version, the newest first.
fn versions(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// Whom a server runs as when it isn't whom we run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// PostgreSQL refuses to run as root, so root starts it as the user its package made.
    pub(crate) fn for_postgres() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").context("/etc/passwd can't be read")?;
        let user = Self::named("postgres", &accounts);
        user.map(Some).context("no user `postgres`, whom PostgreSQL would run as under root")
    }

    fn named(name: &str, accounts: &str) -> Option<Self> {
        let mut fields = accounts
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?
            .skip(1);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_brings_it() {
        let error = find("no-such-server", "such-server").unwrap_err().to_string();
        assert!(error.contains("`no-such-server` is missing"), "{error}");
        assert!(error.contains("apt-get install such-server"), "{error}");
    }

    #[test]
    fn the_newest_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "13", "common"] {
            fs::create_dir(root.path().join(version)).unwrap();
        }
        let expect: Vec<_> =
            ["15", "13", "9"].iter().map(|version| root.path().join(version).join("bin")).collect();
        assert_eq!(versions(root.path()), expect);
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0::/:/bin/sh\npostgresql:x:7:8:::\npostgres:x:104:112:a:b:c\n";
        assert_eq!(User::named("postgres", accounts), Some(User { uid: 104, gid: 112 }));
        assert_eq!(User::named("redis", accounts), None);
    }
}
