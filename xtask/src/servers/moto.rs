//! The server of the SQS API: moto's, in a virtual environment of Python of its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process;

/// What goes into the environment, every version pinned; tests look for it by the same list.
const REQUIREMENTS: &str = "crates/testbed/src/sqs/requirements.txt";

/// Makes sure that it is there, installing it if `install` allows.
///
/// # Errors
/// One sentence that says what is missing and what to do about it.
pub(super) fn provide(root: &Path, install: bool) -> Result<(), String> {
    let (version, folder) = place(root).map_err(|error| format!("moto: {error:#}"))?;
    if folder.join("bin/python").is_file() {
        return Ok(());
    }
    let shown = folder.display();
    if !install {
        return Err(format!("moto {version} is missing in {shown} and installing is off"));
    }
    println!("moto {version} missing: installing, once (140 megabytes; --no-install skips it)");
    fill(root, &folder).map_err(|error| {
        format!("moto could not be installed: {error:#}; it needs Python 3.10 with venv and pip")
    })
}

/// Its version, and where it lies.
fn place(root: &Path) -> Result<(String, PathBuf)> {
    let list = fs::read_to_string(root.join(REQUIREMENTS)).context(REQUIREMENTS)?;
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    placed(&list, &cache.context("HOME is not set")?)
}

fn placed(list: &str, cache: &Path) -> Result<(String, PathBuf)> {
    let version = list.lines().find_map(|line| line.strip_prefix("moto=="));
    let version = version.with_context(|| format!("{REQUIREMENTS} does not name moto"))?;
    Ok((version.to_owned(), cache.join("forebay").join(format!("moto-{version}"))))
}

/// Fills a new folder, which gets its name only when it is whole.
fn fill(root: &Path, folder: &Path) -> Result<()> {
    let parent = folder.parent().context("the folder has a parent")?;
    fs::create_dir_all(parent)?;
    let begun = folder.with_extension("begun");
    if begun.exists() {
        fs::remove_dir_all(&begun)?;
    }
    let path = begun.to_str().context("the cache folder's name is not text")?;
    process::run(&mut process::command(root, "python3", &["-m", "venv", path]))?;
    let python = begun.join("bin/python");
    let python = python.to_str().context("the cache folder's name is not text")?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS];
    process::run(&mut process::command(root, python, &pip))?;
    fs::rename(&begun, folder)?;
    let moved = folder.join("bin/python");
    let moved = moved.to_str().context("the cache folder's name is not text")?;
    let works =
        process::succeeds(&mut process::command(root, moved, &["-c", "import moto.server"]));
    ensure!(works, "{moved} can't load it");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_a_folder_of_its_own() {
        let (version, folder) = placed("moto==5.1\nFlask==3", Path::new("/c")).unwrap();
        assert_eq!((version.as_str(), folder), ("5.1", PathBuf::from("/c/forebay/moto-5.1")));
        assert!(placed("Flask==3", Path::new("/c")).is_err());
    }
}
