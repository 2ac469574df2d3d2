//! `cargo xtask ci`: the proof, before anything is pushed, that a fresh clone passes.
//!
//! Only committed work is in a clone. That is the point: a file forgotten in the last commit makes
//! this fail here, and not for the next person.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process;

pub(crate) const HELP: &str = "\
Clone the last commit into a temporary folder and run its .ci/run there, as a build server would.

Usage: cargo xtask ci [OPTIONS]

Options:
  --warm    build in this checkout's target folder, to save compiling the dependencies again

Example:
  cargo xtask ci
";

/// Where .ci/run looks for the real data set, from the checkout.
const DATASET: &str = "../shared/data/card-payments-2018-04.csv.gz";

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    warm: bool,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// One sentence about the argument that can't be used.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--warm" => options.warm = true,
                other => return Err(crate::arguments::unknown("ci", other)),
            }
        }
        Ok(options)
    }
}

/// Runs it; true when the clone passed.
///
/// # Errors
/// If the clone can't be made or its script can't be started.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let start = Instant::now();
    let status = process::output(&mut process::command(root, "git", &["status", "--porcelain"]))?;
    let left_out = status.lines().count();
    if left_out > 0 {
        println!("{left_out} changed or new files are not committed, so they are not tested here");
    }
    let folder = tempfile::Builder::new().prefix("forebay-ci-").tempdir()?;
    let clone = folder.path().join("forebay");
    let mut git = process::command(root, "git", &["clone", "--quiet", "."]);
    process::run(git.arg(&clone))?;

    let script = clone.join(".ci/run");
    let mut command = process::command(&clone, &script.to_string_lossy(), &[]);
    command.env("CI", "true");
    if options.warm {
        command.env("CARGO_TARGET_DIR", root.join("target"));
    } else {
        command.env_remove("CARGO_TARGET_DIR");
    }
    if std::env::var_os("TEST_DATASET").is_none() {
        // The clone has no neighbours, so the data set is named from here.
        if let Ok(path) = root.join(DATASET).canonicalize() {
            command.env("TEST_DATASET", path);
        }
    }
    let status = command.status().with_context(|| {
        format!("could not start {}; is it committed and executable?", script.display())
    })?;
    let verdict = if status.success() { "passed" } else { "failed" };
    println!("a fresh clone {verdict} in {:.0} s", start.elapsed().as_secs_f64());
    Ok(status.success())
}
