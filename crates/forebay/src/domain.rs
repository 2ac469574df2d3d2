//! What a domain is to the binary: a verb, and what it does in a process that runs pipelines.
//!
//! Its configuration is a file under `config`, its routes are a file of the server, its tables are a family of
//! the store. [`crate::domains`] lists all domains.

use anyhow::Result;
use async_trait::async_trait;
use clap::{ArgMatches, Command};
use server::Routes;

use crate::config::{Config, Flags};
use crate::exit::Exit;
use crate::process::Process;

/// One domain.
#[async_trait(?Send)]
pub(crate) trait Domain: Sync {
    /// Its verb, if it has one.
    fn verb(&self) -> Option<&dyn Verb> {
        None
    }

    /// The names of the pipelines that it runs with this configuration.
    fn pipelines(&self, config: &Config) -> Vec<String>;

    /// Opens what it needs, adds its pipelines to the fleet of `process`, and returns what the server answers
    /// for it. It may be called again after an error that is over.
    ///
    /// # Errors
    /// If something can't be opened. Pipelines that it added are removed again.
    async fn start(&self, process: &Process) -> Result<Started>;
}

/// What a domain does on the command line.
#[async_trait]
pub(crate) trait Verb: Sync {
    /// Its name, its arguments and its help.
    fn command(&self) -> Command;

    /// Does what `matches` ask for.
    ///
    /// # Errors
    /// If it can't be done.
    async fn run(&self, matches: &ArgMatches, flags: &Flags) -> Result<Exit>;
}

/// What a domain has begun in a process.
#[derive(Default)]
pub(crate) struct Started {
    /// For the server of a process that takes events.
    pub(crate) routes: Vec<Routes>,
    /// What was found and done at the start, one sentence each.
    pub(crate) said: Vec<String>,
}

impl Started {
    /// Adds what another domain has begun.
    pub(crate) fn and(&mut self, other: Self) {
        self.routes.extend(other.routes);
        self.said.extend(other.said);
    }
}
