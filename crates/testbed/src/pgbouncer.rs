//! One pgbouncer in front of a PostgreSQL server.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::Postgres;
use crate::home::Home;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::program::{self, User};

/// The Debian package that brings it.
const PACKAGE: &str = "pgbouncer";
/// Where Debian keeps it, which is not in everybody's search path.
const FOLDER: &str = "/usr/sbin";

/// A pooler of its own; gone when dropped. It reaches the server that it was started for as the
/// role `postgres`, whoever the client is, and asks nobody for a password.
#[derive(Debug)]
pub struct PgBouncer {
    port: Port,
    _process: Process,
}

impl PgBouncer {
    /// Starts one in front of `server` and waits until it answers. `settings` are lines of
    /// `pgbouncer.ini`, such as `("pool_mode", "transaction")`.
    ///
    /// # Errors
    /// If `pgbouncer` is missing or fails; the error says what to do about it.
    pub fn start(server: &Postgres, settings: &[(&str, &str)]) -> Result<Self> {
        let path = program::find_in(FOLDER, "pgbouncer", PACKAGE)?;
        // It refuses to run as root, as PostgreSQL does.
        let user = User::for_postgres()?;
        let home = Home::new("pgbouncer", user)?;
        let port = Port::free()?;
        let address = server.address();
        let (host, behind) = address.rsplit_once(':').context("an address has a port")?;
        let number = port.number();
        // With `any` it logs in as the role that is named for the databases.
        let mut lines = format!(
            "[databases]\n* = user=postgres host={host} port={behind}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {number}\nunix_socket_dir =\nauth_type = any\n"
        );
        for (name, value) in settings {
            lines.push_str(&format!("{name} = {value}\n"));
        }
        let file = home.path().join("pgbouncer.ini");
        fs::write(&file, lines).context("pgbouncer.ini can't be written")?;
        if let Some(user) = user {
            chown(&file, Some(user.uid), Some(user.gid)).context("pgbouncer.ini can't be given")?;
        }
        let args = vec![file.display().to_string()];
        let program = Program { path, args, user, stop: Signal::INT, abort: Signal::TERM };
        let mut process = Process::new(program, home);
        process.start(|| {
            TcpStream::connect(port.address()).map(drop).context("pgbouncer does not listen yet")
        })?;
        Ok(Self { port, _process: process })
    }

    /// `postgres://postgres@127.0.0.1:PORT/forebay`, past which lies the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/forebay", self.port.address())
    }
}
