//! The test programs of the workspace: one after the other, and beside them those that mostly wait.
//!
//! Many tests measure time, against servers that want a core of their own: with more at once a lease
//! expires before its test has come to look at it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::process;

/// What mostly waits, for a broker to let a group begin.
const WAITING: [&str; 1] = ["buffer-kafka tests/kafka/main.rs"];
/// How long one may take.
const SUITE_MAX: Duration = Duration::from_secs(20 * 60);
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

impl Suite {
    fn waits(&self) -> bool {
        WAITING.contains(&self.name.as_str())
    }
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
    let suites = build(root, &settle)?.into_iter().rev();
    let mut lanes = <[Vec<Suite>; 2]>::from(suites.partition(|suite| suite.waits()));
    let mut running: [Option<Running>; 2] = [None, None];
    let mut failed = Vec::new();
    loop {
        for (left, running) in lanes.iter_mut().zip(&mut running) {
            if let Some(program) = running
                && let Some(status) = program.child.try_wait()?
            {
                tell(program, status)?;
                if !status.success() {
                    failed.push(program.suite.name.clone());
                }
                *running = None;
            }
            if let Some(program) = running
                && program.began.elapsed() > SUITE_MAX
            {
                // Its own tests tell which of them has ended.
                program.child.kill()?;
            }
            // After a failure none is begun any more, and the other that runs is waited for.
            if running.is_none()
                && failed.is_empty()
                && let Some(suite) = left.pop()
            {
                *running = Some(start(suite, &settle)?);
            }
        }
        if running.iter().all(Option::is_none) {
            break;
        }
        thread::sleep(POLL);
    }
    if !failed.is_empty() {
        bail!("{} failed", failed.join(" and "));
    }
    let mut examples =
        process::command(root, "cargo", &["test", "--workspace", "--locked", "--doc"]);
    settle(&mut examples);
    process::run(&mut examples)
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended can't be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// Prints what it said.
fn tell(ended: &mut Running, status: ExitStatus) -> Result<()> {
    let mut text = Vec::new();
    ended.said.seek(SeekFrom::Start(0))?;
    ended.said.read_to_end(&mut text)?;
    println!("\n{} ({:.1} s, {status})", ended.suite.name, ended.began.elapsed().as_secs_f64());
    print!("{}", String::from_utf8_lossy(&text));
    Ok(())
}
