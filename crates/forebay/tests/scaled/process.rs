//! A `forebay serve` that runs beside the test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// How long it may take to listen, and how long an orderly end.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);
/// What it says in front of where it listens: one that takes events, and one that takes none.
const LISTENS: [&str; 2] = ["Listening on http://", "Health and metrics on http://"];

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
    printed: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts it, and does not wait until it listens. What it prints and logs goes into `dir`, under
    /// this name.
    pub(crate) fn spawn(mut command: Command, dir: &Path, name: &str) -> Self {
        let file = |kind: &str| dir.join(format!("{name}.{kind}"));
        let (printed, log) = (file("out"), file("log"));
        let into = |path| Stdio::from(File::create(path).unwrap());
        let child = command.stdout(into(&printed)).stderr(into(&log)).spawn().unwrap();
        Self { child, printed, log }
    }

    /// Where it listens, once it does.
    pub(crate) fn address(&mut self) -> String {
        let end = Instant::now() + START_MAX;
        loop {
            let printed = std::fs::read_to_string(&self.printed).unwrap();
            // A line that is not whole yet may hold half an address.
            let whole = printed.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let address = whole.flat_map(|line| LISTENS.map(|words| line.strip_prefix(words)));
            if let Some(address) = address.flatten().next() {
                return address.to_owned();
            }
            self.must_live();
            assert!(Instant::now() < end, "it does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The value of a metric, by its name and labels; not a number where there is none.
    pub(crate) fn metric(&mut self, name: &str) -> f64 {
        self.figure(name).map_or(f64::NAN, |figure| figure.parse().unwrap())
    }

    /// The value of a counter, by its name and labels: one that was never added to is not there.
    pub(crate) fn count(&mut self, name: &str) -> usize {
        self.figure(name).map_or(0, |figure| figure.parse().unwrap())
    }

    /// How many payments it has put into the store: nobody else counts in its metrics.
    pub(crate) fn settled(&mut self) -> usize {
        self.count("processed_tasks_total{pipeline=\"consumer_batch\"}")
    }

    fn figure(&mut self, name: &str) -> Option<String> {
        let text = self.ask("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next().map(str::to_owned)
    }

    /// Sends a request; the whole answer.
    pub(crate) fn ask(&mut self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP. The process keeps its leases and connections.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGHUP: it reads its configuration again.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM, and waits for an orderly end.
    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let end = Instant::now() + STOP_MAX;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "a process does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "an orderly end is exit code 0:\n{}", self.log());
    }

    /// Fails if it has ended by itself.
    pub(crate) fn must_live(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "a process ended by itself:\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
