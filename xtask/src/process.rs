//! Child processes: what a chore starts, how it fails, how long it may take.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a child with a time limit is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Whether a build server runs us: nothing may then be skipped.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// A command with its arguments, to be run in `root`.
pub(crate) fn command(root: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root);
    // What cargo told us of our own package. Some build scripts look at it, and would run again each time
    // somebody goes from `cargo test` to us.
    let of_ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for (name, _) in env::vars_os().filter(|(name, _)| of_ours(name)) {
        command.env_remove(name);
    }
    command
}

/// Runs a child whose output goes straight through.
///
/// # Errors
/// If it can't be started or does not succeed; the error shows the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Whether a child succeeds, without a word from it.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    silence(command).status().is_ok_and(|status| status.success())
}

/// Whether a child succeeds within `limit`, without a word from it; it is ended past that.
pub(crate) fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let Ok(mut child) = silence(command).spawn() else { return false };
    let start = Instant::now();
    while start.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(POLL),
            Err(_) => break,
        }
    }
    // It may end by itself between the look and the kill: either way it is over, and too late.
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// A child that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Waits for a child and keeps what it writes. The child is ended when `stop` is set and past `limit`.
///
/// # Errors
/// If it can't be started, was ended, or its output can't be read.
pub(crate) fn finish(
    command: &mut Command,
    limit: Duration,
    stop: &AtomicBool,
) -> Result<Finished> {
    // Files, since a pipe holds a child up that writes more than fits.
    let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let status = wait(command, limit, stop)?;
    Ok(Finished { status, stdout: read(out)?, stderr: read(err)? })
}

/// Waits for a child, which is ended when `stop` is set and past `limit`.
///
/// # Errors
/// If it can't be started, or was ended.
pub(crate) fn wait(
    command: &mut Command,
    limit: Duration,
    stop: &AtomicBool,
) -> Result<ExitStatus> {
    let shown = show(command);
    let mut child = command.spawn().with_context(|| format!("could not start `{shown}`"))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || start.elapsed() >= limit {
            // It may end by itself between the look and the kill: either way it is over.
            let _ = child.kill();
            child.wait()?;
            if stopped {
                bail!("stopped by a signal while `{shown}` ran");
            }
            bail!("`{shown}` took more than {} s and was ended", limit.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// What a child wrote into a file.
///
/// # Errors
/// If the file can't be read.
pub(crate) fn read(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a child writes on standard output.
///
/// # Errors
/// If it can't be started or does not succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn silence(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_past_its_limit_is_ended_and_counts_as_failed() {
        let start = Instant::now();
        let mut sleep = command(Path::new("."), "sleep", &["30"]);
        assert!(!succeeds_within(&mut sleep, Duration::from_millis(200)));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_child_that_is_waited_for_ends_past_its_limit_and_at_a_signal() {
        let mut sleep = command(Path::new("."), "sleep", &["30"]);
        let limit = Duration::from_millis(200);
        let late = finish(&mut sleep, limit, &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(late.contains("took more than"), "{late}");
        let stopped =
            finish(&mut sleep, Duration::from_secs(60), &AtomicBool::new(true)).unwrap_err();
        assert!(stopped.to_string().contains("stopped by a signal"), "{stopped}");
    }

    #[test]
    fn a_child_that_writes_more_than_a_pipe_holds_is_read_whole() {
        let mut seq = command(Path::new("."), "seq", &["100000"]);
        let run = finish(&mut seq, Duration::from_secs(60), &AtomicBool::new(false)).unwrap();
        assert!(run.status.success());
        assert_eq!(run.stdout.lines().count(), 100_000);
    }

    #[test]
    fn a_failure_shows_the_command() {
        let error = run(&mut command(Path::new("."), "false", &["--really"])).unwrap_err();
        assert!(error.to_string().contains("`false --really` failed"), "{error}");
    }
}
