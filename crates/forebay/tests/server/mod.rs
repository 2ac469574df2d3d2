//! A `forebay serve` of our own: a real process, in its own directory, on a free port.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: Option<String>,
}

impl Server {
    /// Starts it; does not wait until it listens.
    pub(crate) fn spawn(dir: &Path) -> Self {
        Self::spawn_at(dir, "127.0.0.1:0")
    }

    /// Starts it to listen here.
    pub(crate) fn spawn_at(dir: &Path, bind: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["serve", "--bind", bind, "--data"])
            .arg(dir)
            .env("FOREBAY_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, address: None }
    }

    /// Where it listens, once it does.
    pub(crate) fn address(&mut self) -> String {
        while self.address.is_none() {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the server ended before it listened");
            self.address = line.trim().strip_prefix("Listening on ").map(str::to_owned);
        }
        self.address.clone().unwrap()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until nothing is left in the buffer.
    pub(crate) async fn settled(&mut self, within: Duration) {
        let url = format!("{}/metrics", self.address());
        let end = Instant::now() + within;
        loop {
            let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
            let left = text
                .lines()
                .find_map(|line| line.strip_prefix("buffer_size{buffer=\"journal\"} "))
                .expect("buffer_size is among the metrics");
            if left == "0" {
                return;
            }
            assert!(Instant::now() < end, "{left} events are not settled after {within:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM, and waits for an orderly end.
    pub(crate) fn terminate(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "an orderly end is exit code 0");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
