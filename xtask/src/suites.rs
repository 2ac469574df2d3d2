//! The test programs of the workspace, several at once.
//!
//! Most of what they do is wait: for a lease to expire, a broker to elect, a server to come back. One
//! after the other, as cargo runs them, the machine is idle for most of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::process;

/// Programs that run at once.
const AT_ONCE: usize = 3;
/// How often it is looked which of them have ended.
const POLL: Duration = Duration::from_millis(100);

/// A test program, built.
struct Suite {
    program: PathBuf,
    /// Its package's folder, which cargo runs it in.
    folder: PathBuf,
    /// As in `buffer-redis tests/redis/main.rs`.
    name: String,
}

/// A suite that runs.
struct Running {
    suite: Suite,
    child: Child,
    said: File,
    began: Instant,
}

/// Builds all of them, runs them, and then the examples in the documentation. What each says is
/// printed when it has ended.
///
/// # Errors
/// If they can't be built or one fails; the error names it.
pub(crate) fn run(root: &Path, settle: impl Fn(&mut Command)) -> Result<()> {
    let mut left = build(root, &settle)?;
    left.reverse();
    let (mut running, mut failed): (Vec<Running>, Vec<String>) = (Vec::new(), Vec::new());
    loop {
        // After a failure none is begun any more, and those that run are waited for.
        while running.len() < AT_ONCE
            && failed.is_empty()
            && let Some(suite) = left.pop()
        {
            running.push(start(suite, &settle)?);
        }
        if running.is_empty() {
            break;
        }
        thread::sleep(POLL);
        let mut at = 0;
        while at < running.len() {
            match running[at].child.try_wait().context("a test program can't be waited for")? {
                None => at += 1,
                Some(status) => {
                    let ended = running.swap_remove(at);
                    if let Some(name) = tell(ended, status)? {
                        failed.push(name);
                    }
                }
            }
        }
    }
    if !failed.is_empty() {
        bail!("{} failed", failed.join(" and "));
    }
    let mut examples =
        process::command(root, "cargo", &["test", "--workspace", "--locked", "--doc"]);
    settle(&mut examples);
    process::run(&mut examples)
}

fn build(root: &Path, settle: &impl Fn(&mut Command)) -> Result<Vec<Suite>> {
    let args =
        ["test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"];
    let mut build = process::command(root, "cargo", &args);
    settle(&mut build);
    let mut child = build.stdout(Stdio::piped()).spawn().context("could not start cargo")?;
    let stdout = child.stdout.take().context("cargo gave no standard output")?;
    let mut suites = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        let (true, Some(program)) = (artifact.profile.test, artifact.executable) else { continue };
        let folder = artifact.manifest_path.parent().context("a package has a folder")?;
        let source =
            artifact.target.src_path.strip_prefix(folder).unwrap_or(&artifact.target.src_path);
        let name = format!("{} {source}", folder.file_name().unwrap_or_default());
        suites.push(Suite { program: program.into(), folder: folder.into(), name });
    }
    if !child.wait()?.success() {
        bail!("the tests could not be built");
    }
    if suites.is_empty() {
        bail!("cargo built no tests");
    }
    suites.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(suites)
}

fn start(suite: Suite, settle: &impl Fn(&mut Command)) -> Result<Running> {
    let said = tempfile::tempfile().context("no temporary file could be made")?;
    let mut command = Command::new(&suite.program);
    command
        .current_dir(&suite.folder)
        .env("CARGO_MANIFEST_DIR", &suite.folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?);
    settle(&mut command);
    let child = command.spawn().with_context(|| format!("could not start {}", suite.name))?;
    Ok(Running { suite, child, said, began: Instant::now() })
}

/// Prints what it said; its name if it failed.
fn tell(ended: Running, status: ExitStatus) -> Result<Option<String>> {
    let Running { suite, mut said, began, .. } = ended;
    let mut text = Vec::new();
    said.seek(SeekFrom::Start(0))?;
    said.read_to_end(&mut text)?;
    println!("\n{} ({:.1} s)", suite.name, began.elapsed().as_secs_f64());
    print!("{}", String::from_utf8_lossy(&text));
    Ok((!status.success()).then_some(suite.name))
}
