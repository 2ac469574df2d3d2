//! One Redis server.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::home::Home;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::program;
use crate::resp::{self, Reply};

/// What the server is told, before what the test wants otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("bind", "127.0.0.1"),
    ("appendonly", "yes"),
    ("appendfsync", "everysec"),
    ("maxmemory-policy", "noeviction"),
    ("save", ""),
];

/// A server of its own, with an append-only file that is synced every second; gone when dropped.
#[derive(Debug)]
pub struct Redis {
    port: Port,
    /// For the bus between the nodes of a cluster.
    _bus: Option<Port>,
    process: Mutex<Process>,
}

impl Redis {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// If `redis-server` is missing or doesn't start; the error says what to do about it.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with these settings (as in `redis.conf`) in place of the usual ones.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let redis = Self::prepare(Port::free()?, None, settings)?;
        redis.start_again()?;
        Ok(redis)
    }

    /// One that is yet to be started.
    pub(crate) fn prepare(
        port: Port,
        bus: Option<Port>,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let path = program::find("redis-server", "redis-server")?;
        let mut args = vec!["--port".to_owned(), port.number().to_string()];
        if let Some(bus) = &bus {
            args.extend(["--cluster-port".to_owned(), bus.number().to_string()]);
        }
        for (name, value) in SETTINGS.iter().chain(settings) {
            args.extend([format!("--{name}"), (*value).to_owned()]);
        }
        let program = Program { path, args, user: None, stop: Signal::TERM, abort: Signal::KILL };
        let process = Mutex::new(Process::new(program, Home::new("redis", None)?));
        Ok(Self { port, _bus: bus, process })
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The port of the cluster's bus.
    pub(crate) fn bus_port(&self) -> Option<u16> {
        self._bus.as_ref().map(Port::number)
    }

    /// The id of its process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process().id()
    }

    /// Sends one command over a connection of its own.
    ///
    /// # Errors
    /// If the server can't be reached, is silent for ten seconds, or answers with an error.
    pub fn call(&self, command: &[&str]) -> Result<Reply> {
        resp::call(&self.address(), command)
    }

    /// Whether it was started and neither stopped nor killed since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Shuts it down in good order. Does nothing to one that doesn't run.
    pub fn stop(&self) {
        self.process().stop();
    }

    /// Ends it as `kill -9` does. Does nothing to one that doesn't run.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts it with what it had kept, on the same port, and waits until it answers. Does nothing
    /// to one that runs.
    ///
    /// # Errors
    /// If it doesn't start; the error quotes its log.
    pub fn start_again(&self) -> Result<()> {
        self.process().start(|| {
            let answer = self.call(&["PING"])?;
            ensure!(answer.text() == Some("PONG"), "`PING` was answered with {answer:?}");
            Ok(())
        })
    }

    /// Keeps it from running: connections stay open, and nobody answers.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process().resume();
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
