//! Running the program.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a step of the program may take.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trial"));
    command.current_dir(dir).env_clear().args(args);
    // Any will do, for a server of the test's own.
    command.env("AWS_ACCESS_KEY_ID", "AKIATEST").env("AWS_SECRET_ACCESS_KEY", "s3cret");
    command
}

pub(crate) fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program(dir, args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Runs it to its end, which must be a good one.
pub(crate) fn done(dir: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
    stdout
}

pub(crate) fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&done(dir, args)).unwrap()
}

/// Waits until `look` finds `expect`.
pub(crate) fn until<T: PartialEq + std::fmt::Debug>(expect: &T, mut look: impl FnMut() -> T) {
    let end = Instant::now() + STEP_MAX;
    loop {
        let found = look();
        if found == *expect {
            return;
        }
        assert!(Instant::now() < end, "it is {found:?}, never {expect:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The status and the body of an answer; nothing where the server is gone.
pub(crate) fn asked(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(STEP_MAX)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A server that is ended when it is dropped.
pub(crate) struct Serving {
    child: Child,
    /// `127.0.0.1:40001`.
    address: String,
}

impl Serving {
    /// Starts it on a free port, and waits until it listens.
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        let args = [&["serve", "--bind", "127.0.0.1:0"], args].concat();
        let mut child = program(dir, &args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Listening on http://").expect("it listens");
        // What it says later is read, so that it is never kept from saying it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, address: address.to_owned() }
    }

    /// The status and the body of an answer; nothing where the server is gone.
    pub(crate) fn asked(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        asked(&self.address, method, path, body)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.asked("GET", path, "").expect("it answers")
    }

    /// The value of a metric, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: it keeps its leases and connections, and does nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it run on.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Ends the server as an operator does, and waits until it has ended.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal("-TERM");
        let end = Instant::now() + STEP_MAX;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(Instant::now() < end, "the server does not stop");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
