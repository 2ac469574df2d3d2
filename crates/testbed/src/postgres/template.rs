//! The data folder every server of this process begins with, made once.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::home::Home;
use crate::program::{self, User};

/// The database that is there for tests.
pub(super) const DATABASE: &str = "forebay";
/// The Debian package that brings the server.
pub(super) const PACKAGE: &str = "postgresql";
/// The watcher removes it when the process ends: nothing else would, a static is never dropped.
static TEMPLATE: Mutex<Option<Home>> = Mutex::new(None);

/// Copies the data folder to `to`, making it first if this process has not yet.
///
/// # Errors
/// If `initdb` is missing or fails, or the folder can't be copied.
pub(super) fn copy_to(to: &Path, user: Option<User>) -> Result<()> {
    let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = match template.take() {
        Some(home) => home,
        None => make(user)?,
    };
    let from = template.insert(home).path().join("data");
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    run(&mut copy, "")
}

fn make(user: Option<User>) -> Result<Home> {
    let home = Home::new("initdb", user)?;
    let data = home.path().join("data");
    let command = |program: PathBuf| {
        let mut command = Command::new(program);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        command.current_dir(home.path());
        command
    };
    let mut initdb = command(program::find("initdb", PACKAGE)?);
    initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]);
    initdb.args(["--locale=C", "--no-instructions", "-D"]).arg(&data);
    run(&mut initdb, "")?;
    let mut single = command(program::find("postgres", PACKAGE)?);
    single.args(["--single", "-F", "-D"]).arg(&data).arg("postgres");
    run(&mut single, &format!("CREATE DATABASE {DATABASE}\n"))?;
    Ok(home)
}

/// Runs a program to its end, with `input` as its standard input.
fn run(command: &mut Command, input: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("could not start `{name}`"))?;
    let mut pipe = child.stdin.take().context("a piped input is there")?;
    if !input.is_empty() {
        pipe.write_all(input.as_bytes()).with_context(|| format!("`{name}` does not listen"))?;
    }
    drop(pipe);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed ({}): {}", output.status, said.trim());
    }
    Ok(())
}
