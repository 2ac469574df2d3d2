//! The whole program on a backend that it does not name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const EVENTS: u64 = 20;
/// How long a step of the program may take.
const STEP_MAX: Duration = Duration::from_secs(60);

fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trial"));
    command.current_dir(dir).env_clear().args(args);
    command
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program(dir, args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let (code, stdout, stderr) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// A server that is ended when it is dropped.
struct Serving(Child);

impl Serving {
    /// Ends the server as an operator does, and waits until it has ended.
    fn stop(mut self) -> i32 {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let end = Instant::now() + STEP_MAX;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(Instant::now() < end, "the server does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_backend_that_was_added_as_the_document_says_serves_and_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("forebay.toml"), "buffer = \"folder:./queue\"\n").unwrap();
    let (code, stdout, stderr) = run(dir, &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
    assert_eq!(code, 0, "{stderr}");
    let accepted = "FOR TESTS ALONE: accepted payments lie in the folder ./queue.";
    assert!(stdout.contains(accepted), "{stdout}");

    let events = EVENTS.to_string();
    let generate = ["generate", "--count", &events, "--tps", "2000", "--to", "folder:./queue"];
    let (code, _, stderr) = run(dir, &generate);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(json(dir, &["buffer", "stat", "--json"])["ready"], EVENTS);
    assert_eq!(std::fs::read_dir(dir.join("queue")).unwrap().count() as u64, EVENTS);
    let (_, stdout, _) = run(dir, &["buffer", "peek", "--count", "3", "--json"]);
    assert_eq!(stdout.lines().count(), 3, "{stdout}");

    let serve = ["serve", "--bind", "127.0.0.1:0"];
    let serving = Serving(program(dir, &serve).stdout(Stdio::null()).spawn().unwrap());
    let end = Instant::now() + STEP_MAX;
    while json(dir, &["buffer", "stat", "--json"])["ready"] != 0 {
        assert!(Instant::now() < end, "the events are not settled");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(serving.stop(), 0);
    assert_eq!(json(dir, &["store", "check", "--json"])["payments"], EVENTS);
}

#[test]
fn what_the_backend_can_not_do_is_refused_as_unusable_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let look = |verb: &str| run(dir.path(), &["buffer", verb, "--buffer", "folder:./queue"]);
    for verb in ["verify", "repair"] {
        let (code, _, stderr) = look(verb);
        assert_eq!(code, 2, "{stderr}");
        let expect = "a folder: buffer can't do this; `forebay buffer stat` counts";
        assert!(stderr.contains(expect), "{stderr}");
    }
    let (code, _, stderr) = run(dir.path(), &["dead", "list", "--buffer", "folder:./queue"]);
    assert_eq!((code, stderr.contains("a folder: buffer can't do this")), (2, true), "{stderr}");
    let (code, _, stderr) = run(dir.path(), &["buffer", "stat", "--buffer", "foldr:./queue"]);
    let expect = "there is no backend foldr: ; journal:, redis:, redis-cluster:, kafka:, sqs:, memory: and \
                  folder: are built in";
    assert!(code == 2 && stderr.contains(expect), "{stderr}");
}
