//! The repository's text files, as git sees them: tracked ones and new ones that are not ignored.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::process;

/// One text file.
#[derive(Debug)]
pub(super) struct File {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    /// What follows the last dot of the name, or nothing.
    pub(super) fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    pub(super) fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    /// Lines with their numbers, counted from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All text files, and the paths of the others.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: Vec<File>,
    paths: Vec<String>,
}

impl Tree {
    /// Reads the repository at `root`.
    ///
    /// # Errors
    /// If git can't list the files or one of them can't be read.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = process::output(&mut process::command(root, "git", &args))
            .context("tidy takes the list of files from git: run it in a clone")?;
        let mut tree = Self::default();
        for path in listed.split_terminator('\0') {
            let full = root.join(path);
            // A file deleted but not yet committed is listed all the same.
            if !full.is_file() {
                continue;
            }
            let bytes = fs::read(&full).with_context(|| format!("could not read {path}"))?;
            tree.paths.push(path.to_string());
            if let Ok(text) = String::from_utf8(bytes) {
                tree.files.push(File { path: path.to_string(), text });
            }
        }
        Ok(tree)
    }

    /// Every text file.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// The file at `path`.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether `path` is a file, or a folder that holds one.
    pub(super) fn holds(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self.paths.iter().any(|known| known == path || known.starts_with(&folder))
    }

    /// A tree made of (path, text), for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let paths = files.iter().map(|(path, _)| (*path).to_string()).collect();
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Self { files: files.iter().map(file).collect(), paths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_when_a_file_lies_in_it() {
        let tree = Tree::of(&[("docs/performance.md", "")]);
        assert!(tree.holds("docs") && tree.holds("docs/performance.md"));
        assert!(!tree.holds("doc") && !tree.holds("docs/perf"));
    }
}
