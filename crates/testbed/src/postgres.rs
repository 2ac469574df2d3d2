//! One PostgreSQL server.

mod certificate;
mod template;
mod wire;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustix::process::Signal;

use crate::home::Home;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::program::{self, User};
use template::DATABASE;

/// What the server is told, before what the test wants otherwise. Syncing stays on: what a test
/// finds after `kill -9` is what was durable. The shared memory that a killed server leaves behind
/// lies in its folder and goes with it.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("max_connections", "50"),
    ("dynamic_shared_memory_type", "mmap"),
];

/// A server of its own with an empty database `forebay` and the superuser `postgres`, who needs no
/// password; gone when dropped.
#[derive(Debug)]
pub struct Postgres {
    port: Port,
    folder: PathBuf,
    tls: bool,
    process: Mutex<Process>,
}

impl Postgres {
    /// Starts one and waits until it answers. The first in a process takes a second or two longer:
    /// it makes the folder that the others copy.
    ///
    /// # Errors
    /// If `postgres` or `initdb` is missing or fails; the error says what to do about it.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with these settings (as in `postgresql.conf`) in place of the usual ones.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::begin(settings, false)
    }

    /// Starts one that can be reached over TLS alone, with a certificate for `localhost` and
    /// 127.0.0.1 from the authority in [`Postgres::ca_file`].
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_tls() -> Result<Self> {
        Self::begin(&[("ssl", "on")], true)
    }

    fn begin(settings: &[(&str, &str)], tls: bool) -> Result<Self> {
        let path = program::find("postgres", template::PACKAGE)?;
        let user = User::for_postgres()?;
        let home = Home::new("postgres", user)?;
        let folder = home.path().to_path_buf();
        template::copy_to(&folder.join("data"), user)?;
        if tls {
            certificate::write(&folder.join("data"), user)?;
        }
        let port = Port::free()?;
        let mut args = vec!["-D".to_owned(), folder.join("data").display().to_string()];
        args.extend(["-p".to_owned(), port.number().to_string()]);
        args.extend(["-k".to_owned(), folder.display().to_string()]);
        for (name, value) in SETTINGS.iter().chain(settings) {
            args.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        let program = Program { path, args, user, stop: Signal::INT, abort: Signal::QUIT };
        let process = Mutex::new(Process::new(program, home));
        let postgres = Self { port, folder, tls, process };
        postgres.start_again()?;
        Ok(postgres)
    }

    /// `postgres://postgres@127.0.0.1:PORT/forebay`; that of [`Postgres::start_tls`] goes on with
    /// `?sslmode=require`.
    #[must_use]
    pub fn url(&self) -> String {
        let mode = if self.tls { "?sslmode=require" } else { "" };
        format!("postgres://postgres@{}/{DATABASE}{mode}", self.address())
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The certificate (PEM) of the authority that has signed the server's; there after
    /// [`Postgres::start_tls`] alone.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("data").join(certificate::CA_FILE)
    }

    /// Runs statements, past TLS and whatever else lies between a client and the server.
    ///
    /// # Errors
    /// If the server can't be reached, is silent for a minute, or answers with an error.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.query(sql).map(|_| ())
    }

    /// Runs statements and returns the rows of all of them, each value as text.
    ///
    /// # Errors
    /// As [`Postgres::execute`].
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        wire::query(&self.folder, self.port.number(), DATABASE, sql)
    }

    /// Whether it was started and neither stopped nor killed since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Shuts it down in good order, cutting whoever is connected. Does nothing to one that doesn't
    /// run.
    pub fn stop(&self) {
        self.process().stop();
    }

    /// Ends it as `kill -9` does, its backends with it. Does nothing to one that doesn't run.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts it with what it had kept, on the same port, and waits until it answers. Does nothing
    /// to one that runs.
    ///
    /// # Errors
    /// If it doesn't start; the error quotes its log.
    pub fn start_again(&self) -> Result<()> {
        self.process().start(|| self.execute("SELECT 1"))
    }

    /// Keeps it and its backends from running: connections stay open, and nobody answers.
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
