//! A server's process: started, looked after, and ended in every way there is.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::home::Home;
use crate::program::User;

/// How long a server may take until it answers; a busy machine with cold disks is slow.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to end after it was asked to; past this it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How long a server may take until none of its threads runs after it was told to stop.
const HALT_MAX: Duration = Duration::from_secs(5);
/// How often a server that starts or ends is looked at.
const POLL: Duration = Duration::from_millis(5);
/// How much of the end of its log a server that didn't start is quoted with.
const LOG_TAIL_BYTES: usize = 2000;

/// Waits for a word before it becomes the server, so that the watcher knows of it before it exists;
/// should we die in between, the word never comes and nothing was started.
const GATE: &str = r#"read -r _ && exec "$@" </dev/null"#;

/// How to start a server.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) user: Option<User>,
    /// Asks it to end in good order.
    pub(crate) stop: Signal,
    /// Asks it to end at once, before it is killed.
    pub(crate) abort: Signal,
}

/// A server's process, in its home.
#[derive(Debug)]
pub(crate) struct Process {
    program: Program,
    home: Home,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn new(program: Program, home: Home) -> Self {
        Self { program, home, child: None }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it and waits until `answers` is well; does nothing to one that runs.
    ///
    /// # Errors
    /// If it ends or doesn't answer in time; the error quotes the end of its log.
    pub(crate) fn start(&mut self, answers: impl Fn() -> Result<()>) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        self.spawn()?;
        let started = Instant::now();
        loop {
            let silence = match answers() {
                Ok(()) => return Ok(()),
                Err(silence) => silence,
            };
            if let Some(status) = self.ended()? {
                return Err(self.with_log(anyhow!("ended while it started ({status})")));
            }
            if started.elapsed() > START_MAX {
                self.kill();
                let silence = silence.context(format!("did not answer in {START_MAX:?}"));
                return Err(self.with_log(silence));
            }
            thread::sleep(POLL);
        }
    }

    fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.context("the server's log can't be written")?;
        let mut command = Command::new("sh");
        command
            .args([OsStr::new("-c"), OsStr::new(GATE), OsStr::new("gate")])
            .arg(&self.program.path)
            .args(&self.program.args)
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stderr(log.try_clone().context("the server's log can't be shared")?)
            .stdout(log)
            // A Ctrl-C must not shut it down in good order behind our back.
            .process_group(0);
        if let Some(user) = self.program.user {
            command.uid(user.uid).gid(user.gid);
        }
        let mut child = command.spawn().context("`sh` could not be started")?;
        self.home.watch(Some(child.id()))?;
        let mut gate = child.stdin.take().context("the gate has a pipe")?;
        gate.write_all(b"\n").context("the gate is closed")?;
        self.child = Some(child);
        Ok(())
    }

    /// Asks it to end in good order, and kills it if it takes too long.
    pub(crate) fn stop(&mut self) {
        self.end(self.program.stop, STOP_MAX);
    }

    /// Ends it as `kill -9` does, its children with it.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL, STOP_MAX);
    }

    /// Keeps it from running, its children with it: its sockets stay open, and nobody answers.
    pub(crate) fn pause(&self) {
        let Some(pid) = self.pid() else { return };
        // The server first, so that it starts no child that we don't see.
        halt(pid);
        children(pid).into_iter().for_each(halt);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        let Some(pid) = self.pid() else { return };
        children(pid).into_iter().for_each(|child| send(child, Signal::CONT));
        send(pid, Signal::CONT);
    }

    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    fn end(&mut self, signal: Signal, limit: Duration) {
        let Some(pid) = self.pid() else { return };
        if signal != Signal::KILL {
            self.resume();
            send(pid, signal);
            let asked = Instant::now();
            while asked.elapsed() < limit {
                match self.ended() {
                    Ok(Some(_)) => return,
                    Ok(None) => thread::sleep(POLL),
                    Err(_) => break,
                }
            }
        }
        // Stopped first, so that what it has started by then is all there is.
        self.pause();
        let children = children(pid);
        send(pid, Signal::KILL);
        children.iter().for_each(|child| send(*child, Signal::KILL));
        if let Some(mut child) = self.child.take() {
            // Can only fail if somebody else has waited for our child, and then it has ended too.
            let _ = child.wait();
        }
        let _ = self.home.watch(None);
        let killed = Instant::now();
        while children.iter().any(|child| is_alive(*child)) && killed.elapsed() < limit {
            thread::sleep(POLL);
        }
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = self.child.as_mut() else { bail!("the server was not started") };
        let status = child.try_wait().context("the server can't be waited for")?;
        if status.is_some() {
            self.child = None;
            self.home.watch(None)?;
        }
        Ok(status)
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn with_log(&self, error: anyhow::Error) -> anyhow::Error {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL_BYTES)..];
        let name = self.program.path.file_name().unwrap_or_default().to_string_lossy();
        error.context(format!("`{name}` did not start:\n{}", String::from_utf8_lossy(tail)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(self.program.abort, STOP_MAX / 10);
    }
}

/// A process that has ended in the meantime is what the signal was for, or past caring.
fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// Stops a process. Its threads stop one by one, and until the last has it may still answer somebody.
fn halt(pid: Pid) {
    send(pid, Signal::STOP);
    let asked = Instant::now();
    while is_running(pid) && asked.elapsed() < HALT_MAX {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether any thread of it is neither stopped nor ended.
fn is_running(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let runs = |task: fs::DirEntry| !matches!(state(&task.path()), None | Some('T' | 'Z' | 'X'));
    tasks.is_ok_and(|mut tasks| tasks.any(|task| task.is_ok_and(runs)))
}

/// The processes that `pid` has started and that still run; none where the system doesn't say.
fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok().and_then(Pid::from_raw)).collect()
}

/// Whether it is there and not only waited for by whoever inherited it.
fn is_alive(pid: Pid) -> bool {
    let folder = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    !matches!(state(&folder), None | Some('Z' | 'X'))
}

/// What the process or thread of this folder under `/proc` does; none if it is gone.
fn state(folder: &Path) -> Option<char> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
