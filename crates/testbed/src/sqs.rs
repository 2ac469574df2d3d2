//! A server of the SQS API: moto's, from the Python package index.

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;

use crate::home::Home;
use crate::port::Port;
use crate::process::{Process, Program};

/// What the server is made of; `cargo xtask test` installs the same list.
const REQUIREMENTS: &str = include_str!("sqs/requirements.txt");
/// Starts it.
const SERVE: &str = include_str!("sqs/serve.py");
/// The account of every queue.
const ACCOUNT: &str = "123456789012";
/// How long it may keep us waiting for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A server of its own, which keeps its queues in memory and forgets them when it ends; gone when
/// dropped. It takes any credentials and any region, and keeps each region apart.
#[derive(Debug)]
pub struct Sqs {
    port: Port,
    process: Mutex<Process>,
}

impl Sqs {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// If moto is missing or doesn't start; the error says what to do about it.
    pub fn start() -> Result<Self> {
        let path = python()?;
        let port = Port::free()?;
        let args = vec!["-c".to_owned(), SERVE.to_owned(), port.number().to_string()];
        let program = Program { path, args, user: None, stop: Signal::TERM, abort: Signal::KILL };
        let process = Mutex::new(Process::new(program, Home::new("sqs", None)?));
        let sqs = Self { port, process };
        sqs.process().start(|| sqs.answers())?;
        Ok(sqs)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// `sqs+http://127.0.0.1:PORT/ACCOUNT`; a queue's name goes behind it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sqs+http://{}/{ACCOUNT}", self.address())
    }

    /// The id of its process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process().id()
    }

    /// Keeps it from running: connections stay open, and nobody answers.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process().resume();
    }

    /// What a foreign client does: one step of the API by its name, with its parameters as JSON.
    /// Returns the answer's JSON.
    ///
    /// # Errors
    /// If the server can't be reached, is silent for ten seconds, or refuses.
    pub fn call(&self, step: &str, parameters: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {}\r\nX-Amz-Target: AmazonSQS.{step}\r\n\
             Content-Type: application/x-amz-json-1.0\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sqs/aws4_request, \
             SignedHeaders=host, Signature=any\r\nContent-Length: {}\r\n\r\n{parameters}",
            self.address(),
            parameters.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{step} was refused: {body}");
        Ok(body.to_owned())
    }

    fn answers(&self) -> Result<()> {
        self.call("ListQueues", "{}").map(drop)
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interpreter of the virtual environment that has the server.
fn python() -> Result<PathBuf> {
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("moto=="));
    let version = version.context("the requirements name moto")?;
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let folder = cache.context("HOME is not set")?.join("forebay").join(format!("moto-{version}"));
    let python = folder.join("bin/python");
    python.is_file().then_some(python).ok_or_else(|| {
        anyhow!(
            "moto {version}, a server of the SQS API, is missing: `cargo xtask test` installs it"
        )
    })
}
