//! The programs of the two sides: of the working tree as it is, and of a commit from a worktree of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Message;

use super::pairs::Side;
use crate::process;

/// How long one build may take.
const BUILD_MAX: Duration = Duration::from_secs(2 * 3600);
/// Programs of so many commits are kept; the oldest go first.
const KEPT_MAX: usize = 4;
/// Beside kept programs: the compiler and the flags that made them.
const MADE_WITH: &str = "made-with";

/// Where everything lies that is needed to build.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The checkout.
    pub(super) root: &'a Path,
    /// Its target folder.
    pub(super) target: &'a Path,
    /// Ours in there: `build` is the commits' target folder, `tree` the worktree while it is needed, and
    /// `programs` what was built.
    pub(super) own: &'a Path,
    pub(super) stop: &'a AtomicBool,
}

impl Place<'_> {
    /// The full hash of a commit.
    ///
    /// # Errors
    /// If the repository has no such commit.
    pub(super) fn commit(&self, named: &str) -> Result<String> {
        let revision = format!("{named}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &revision];
        let hash = process::output(&mut process::command(self.root, "git", &args)).with_context(|| {
            format!("cannot find commit `{named}`; name a hash, a tag or a branch of this repository")
        })?;
        Ok(hash.trim().to_owned())
    }

    /// The programs of the working tree, copied, so that a later build does not change them.
    ///
    /// # Errors
    /// If it cannot be built.
    pub(super) fn working_tree(&self) -> Result<Side> {
        println!("building the working tree");
        let to = self.own.join("programs/working-tree");
        self.build(self.root, self.target, &to).context("cannot build the working tree")?;
        Ok(side("the working tree", &to))
    }

    /// The programs of a commit; those of an earlier run where the compiler and its flags are the same.
    ///
    /// # Errors
    /// If it cannot be checked out or built.
    pub(super) fn of_commit(&self, hash: &str) -> Result<Side> {
        let short = &hash[..hash.len().min(12)];
        let name = format!("commit {short}");
        let to = self.own.join("programs").join(hash);
        let made_with = made_with(self.root)?;
        if fs::read_to_string(to.join(MADE_WITH)).is_ok_and(|kept| kept == made_with) {
            println!("{name} is built already");
            return Ok(side(&name, &to));
        }
        println!("building {name}");
        let tree = Worktree::add(self.root, &self.own.join("tree"), hash)?;
        self.build(&tree.path, &self.own.join("build"), &to)
            .with_context(|| format!("cannot build {name}"))?;
        fs::write(to.join(MADE_WITH), made_with)?;
        forget_oldest(&self.own.join("programs"))?;
        Ok(side(&name, &to))
    }

    fn build(&self, tree: &Path, target: &Path, to: &Path) -> Result<()> {
        // Half of a copy must not pass for programs of an earlier run.
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        let cargo = |args: &[&str]| -> Command {
            let mut command = process::command(tree, "cargo", args);
            command.env("CARGO_TARGET_DIR", target);
            command
        };
        let status = process::wait(
            &mut cargo(&["build", "--release", "--package", "forebay", "--locked"]),
            BUILD_MAX,
            self.stop,
        )?;
        ensure!(status.success(), "cargo ended with {status}");
        let mut bench = cargo(&["bench", "--package", "lab", "--bench", "forebay", "--locked"]);
        bench.args(["--no-run", "--message-format=json-render-diagnostics"]);
        let messages = tempfile::tempfile()?;
        let status = process::wait(bench.stdout(messages.try_clone()?), BUILD_MAX, self.stop)?;
        ensure!(status.success(), "cargo ended with {status}");
        let program = program(&process::read(messages)?)?;
        fs::create_dir_all(to)?;
        fs::copy(program, to.join("bench"))?;
        fs::copy(target.join("release/forebay"), to.join("forebay"))?;
        Ok(())
    }
}

fn side(name: &str, programs: &Path) -> Side {
    Side { name: name.into(), bench: programs.join("bench"), binary: programs.join("forebay") }
}

/// Where cargo says that the bench program is.
fn program(messages: &str) -> Result<PathBuf> {
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.name == "forebay"
            && artifact.target.is_bench()
            && let Some(program) = artifact.executable
        {
            return Ok(program.into_std_path_buf());
        }
    }
    bail!("cargo names no bench program `forebay` of the package `lab`")
}

/// What decides beside the commit what a program is.
fn made_with(root: &Path) -> Result<String> {
    let rustc = process::output(&mut process::command(root, "rustc", &["-vV"]))?;
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    Ok(format!("{rustc}RUSTFLAGS={flags}\n"))
}

/// Keeps the programs of the last [`KEPT_MAX`] commits; each takes some hundred MiB.
fn forget_oldest(programs: &Path) -> Result<()> {
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(programs)? {
        let made = entry?.path();
        if let Ok(about) = fs::metadata(made.join(MADE_WITH)) {
            kept.push((about.modified()?, made));
        }
    }
    kept.sort();
    for (_, oldest) in kept.iter().take(kept.len().saturating_sub(KEPT_MAX)) {
        fs::remove_dir_all(oldest)?;
    }
    Ok(())
}

/// A commit checked out beside the working tree; gone when this is dropped.
struct Worktree {
    root: PathBuf,
    path: PathBuf,
}

impl Worktree {
    fn add(root: &Path, path: &Path, hash: &str) -> Result<Self> {
        let tree = Self { root: root.into(), path: path.into() };
        // One that a run left behind which was killed.
        tree.remove();
        let args = ["worktree", "add", "--detach", "--quiet"];
        let mut git = process::command(root, "git", &args);
        process::output(git.arg(path).arg(hash)).context("cannot check the commit out")?;
        Ok(tree)
    }

    fn remove(&self) {
        let git = |args: &[&str]| process::command(&self.root, "git", args);
        process::succeeds(git(&["worktree", "remove", "--force"]).arg(&self.path));
        if self.path.exists() && fs::remove_dir_all(&self.path).is_err() {
            println!("could not remove {}; remove it by hand", self.path.display());
        }
        process::succeeds(&mut git(&["worktree", "prune"]));
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_the_last_commits_are_kept_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for n in 0..6 {
            let made = folder.path().join(format!("commit-{n}"));
            fs::create_dir(&made).unwrap();
            let file = fs::File::create(made.join(MADE_WITH)).unwrap();
            file.set_modified(start + Duration::from_secs(n)).unwrap();
        }
        fs::create_dir(folder.path().join("working-tree")).unwrap();
        forget_oldest(folder.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["commit-2", "commit-3", "commit-4", "commit-5", "working-tree"]);
    }
}
