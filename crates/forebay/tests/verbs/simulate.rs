//! `simulate http` as a process: called, killed, started again, ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::running::{binary, run};

struct Service {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Service {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let begin = ["simulate", "http", "--bind", "127.0.0.1:0", "latency_ms=1"];
        let mut child =
            binary(dir, &[&begin, args].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { child, out, address }
    }

    /// Calls for `member` under `key`; returns the first line of the answer.
    fn call(&self, member: &str, key: &str) -> String {
        let body = format!("{{\"member\":\"{member}\"}}");
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "POST /pay HTTP/1.1\r\nhost: x\r\nidempotency-key: {key}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap().to_owned()
    }

    /// Ends it as an operator does; returns the exit code and the audit.
    fn end(mut self) -> (i32, Value) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let code = self.child.wait().unwrap().code().unwrap();
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        (code, serde_json::from_str(&text).unwrap())
    }
}

#[test]
fn an_effect_outlives_a_kill_and_the_audit_says_who_got_more_than_one() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ["--ledger", "ledger.ndjson"];
    let mut first = Service::start(dir.path(), &ledger);
    assert_eq!(first.call("a", "k1"), "HTTP/1.1 200 OK");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let second = Service::start(dir.path(), &ledger);
    assert_eq!(second.call("a", "k1"), "HTTP/1.1 200 OK");
    let (code, audit) = second.end();
    assert_eq!((code, &audit["effects"]), (0, &Value::from(1)));
    let third = Service::start(dir.path(), &[&ledger[..], &["honours_keys=false"]].concat());
    third.call("a", "k1");
    let (code, audit) = third.end();
    assert_eq!((code, &audit["twice"]), (1, &serde_json::json!(["a"])));
}

#[test]
fn unusable_arguments_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["simulate", "http", "capacity=0"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("capacity: must be 1 to 1000000, not 0"), "{}", ran.stderr);
}
