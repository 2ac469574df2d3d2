//! Running the binary.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of the binary came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary, in `dir`, with none of the caller's settings.
pub(crate) fn binary(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    testbed::forget_settings(&mut command);
    // What the tests' server of the SQS API is asked with: it takes any.
    command.env("AWS_ACCESS_KEY_ID", "AKIATEST").env("AWS_SECRET_ACCESS_KEY", "s3cret");
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Ran {
    ran(&binary(dir, args).output().unwrap())
}

/// Runs it to its end, which must be a good one; returns its standard output.
pub(crate) fn done(dir: &Path, args: &[&str]) -> String {
    let ran = run(dir, args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// Runs it to its end, and reads its standard output as JSON.
pub(crate) fn json(dir: &Path, args: &[&str]) -> serde_json::Value {
    let stdout = done(dir, args);
    serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stdout}"))
}

pub(crate) fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout.clone()).unwrap(),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

/// Rows of the store at `path` that `sql` counts.
pub(crate) fn count(path: &Path, sql: &str) -> i64 {
    let store = rusqlite::Connection::open(path).unwrap();
    store.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// A `serve` that runs beside the test; killed when dropped.
pub(crate) struct Serving {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Serving {
    /// Starts it on a free port, and waits until it listens.
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        Self::spawn(binary(dir, &Self::all(args)))
    }

    /// The same, with what it says to standard error in `serve.log`.
    pub(crate) fn start_logged(dir: &Path, args: &[&str]) -> Self {
        let log = std::fs::File::create(dir.join("serve.log")).unwrap();
        let mut command = binary(dir, &Self::all(args));
        command.stderr(log);
        Self::spawn(command)
    }

    fn all<'a>(args: &[&'a str]) -> Vec<&'a str> {
        [&["serve", "--bind", "127.0.0.1:0"], args].concat()
    }

    fn spawn(mut command: Command) -> Self {
        Self::of(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// One that was started with its output piped; waits until it listens.
    pub(crate) fn of(mut child: Child) -> Self {
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Listening on ").expect("it listens").to_owned();
        Self { child, lines, address }
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Posts a body; returns the status and the answer.
    pub(crate) fn post(&self, kind: &str, body: &str) -> (u16, serde_json::Value) {
        let url = format!("{}/v1/events", self.address);
        let (kind, body) = (kind.to_owned(), body.to_owned());
        wait(async move {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client.post(url).header("content-type", kind).body(body);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json().await.unwrap())
        })
    }

    /// The value of a metric, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let url = format!("{}/metrics", self.address);
        let text = wait(async { reqwest::get(url).await.unwrap().text().await.unwrap() });
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Waits until the metric has this value.
    pub(crate) fn until(&self, name: &str, value: f64) {
        let end = Instant::now() + PATIENCE;
        while self.metric(name) != Some(value) {
            assert!(Instant::now() < end, "{name} is {:?}, never {value}", self.metric(name));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The status that a path is answered with.
    pub(crate) fn get(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.address);
        wait(async { reqwest::get(url).await.unwrap().status().as_u16() })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// SIGTERM, and waits for the end; returns how it ended and what it had printed.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        self.end_by(Signal::TERM)
    }

    /// Sends `signal`, and waits for the end; returns how it ended and what it had printed.
    pub(crate) fn end_by(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        let mut printed = String::new();
        while self.lines.read_line(&mut printed).unwrap() > 0 {}
        (self.wait(), printed)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `serve --roles worker`; killed when dropped.
pub(crate) struct Worker(Child);

impl Worker {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    pub(crate) fn start_with(dir: &Path, args: &[&str]) -> Self {
        let args = [&["serve", "--roles", "worker"], args].concat();
        Self(binary(dir, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Worker {
    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.0.wait().unwrap()
    }
}

impl Drop for Worker {
    /// kill -9.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}
