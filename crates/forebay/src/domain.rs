//! What a domain is to the program: its keys, its pipelines with their buffers, what it does in a process that runs
//! them, and what verbs ask it about them.
//!
//! Its routes are a file of the server, its tables are a family of the store. [`crate::domains`] lists all domains.

use std::collections::BTreeMap;

use anyhow::Result;
use async_trait::async_trait;
use clap::{ArgMatches, Command};
use model::Event;
use runtime::Line;
use runtime::moving::Ledger;
use server::Routes;
use settings::{Error, Section};
use store::Store;

use crate::config::Config;
use crate::exit::Exit;
use crate::process::Process;

/// One domain.
#[async_trait(?Send)]
pub trait Domain: Sync {
    /// Its keys.
    fn section(&self) -> Section {
        Section::new(Vec::new)
    }

    /// Its verb, if it has one.
    fn verb(&self) -> Option<&dyn Verb> {
        None
    }

    /// The pipelines that it runs with this configuration, and their buffers. `config` has no pipelines yet.
    ///
    /// # Errors
    /// If a value can't be used: the sentence says who set it.
    fn lines(&self, config: &Config) -> Result<Vec<Line>, Error>;

    /// Opens what it needs, adds its pipelines to the fleet of `process`, and returns what the server answers
    /// for it. It may be called again after an error that is over.
    ///
    /// # Errors
    /// If something can't be opened. Pipelines that it added are removed again.
    async fn start(&self, process: &Process) -> Result<Started>;

    /// What is promised of the events of its pipelines, one sentence each.
    ///
    /// # Errors
    /// If the configuration can't be used.
    async fn promises(&self, config: &Config) -> Result<Vec<String>> {
        let own = self.lines(config)?;
        let own = own.iter().filter_map(|line| config.line(&line.pipeline));
        let promises = |line: &Line| {
            let said = line.accepting().map(|buffer| buffer.accepted(line.events));
            said.collect::<Vec<_>>()
        };
        Ok(own.flat_map(promises).collect())
    }

    /// The same once everything was looked at: `looked` has all of its pipelines.
    ///
    /// # Errors
    /// If the configuration can't be used.
    async fn checked(&self, _: &Config, looked: &[Looked]) -> Result<Vec<String>> {
        let said = |looked: &Looked| match looked.unchecked() {
            Some(why) => vec![format!("NOT CHECKED: pipeline {}, {why}", looked.line.pipeline)],
            None => looked.buffers.iter().filter_map(|one| one.clone().ok()).collect(),
        };
        Ok(looked.iter().flat_map(said).collect())
    }

    /// What is wrong with the tables of its pipelines in `store`, by the pipelines' names.
    ///
    /// # Errors
    /// If the configuration can't be used.
    async fn check(&self, _: &Config, _: &dyn Store) -> Result<BTreeMap<String, anyhow::Error>> {
        Ok(BTreeMap::new())
    }

    /// Makes its tables in `store` that are no part of the schema and are missing. Returns their names.
    ///
    /// # Errors
    /// If one can't be made.
    async fn create(&self, _: &Config, _: &dyn Store) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What counts the settled events of a pipeline while it moves to another buffer.
    ///
    /// # Errors
    /// If the store can't be used.
    fn ledger(&self, config: &Config, line: &Line) -> Result<Box<dyn Ledger>>;

    /// What the events of a pipeline are called in lists.
    ///
    /// # Errors
    /// If the configuration can't be used.
    fn names(&self, _: &Config, _: &Line) -> Result<Names> {
        Ok(Box::new(|event| String::from_utf8_lossy(event.id()).into_owned()))
    }
}

/// What an event is called in lists.
pub type Names = Box<dyn Fn(&Event) -> String + Send + Sync>;

/// What a domain does on the command line.
#[async_trait]
pub trait Verb: Sync {
    /// Its name, its arguments and its help.
    fn command(&self) -> Command;

    /// Does what `matches` ask for.
    ///
    /// # Errors
    /// If it can't be done.
    async fn run(&self, matches: &ArgMatches, config: &Config) -> Result<Exit>;
}

/// What a domain has begun in a process.
#[derive(Default)]
pub struct Started {
    /// For the server of a process that takes events.
    pub routes: Vec<Routes>,
    /// What was found and done at the start, one sentence each.
    pub said: Vec<String>,
    /// What can be changed while the process runs. Without it, its changes need a restart.
    pub running: Vec<Box<dyn Running>>,
}

/// What a domain runs in a process, and changes when the configuration is read again.
#[async_trait(?Send)]
pub trait Running {
    /// Looks whether `new` can be used. Changes no pipeline.
    ///
    /// # Errors
    /// If it can't be.
    async fn check(&self, process: &Process, new: &Config) -> Result<()>;

    /// Adds the pipelines of `new` that do not run, drains and removes those that `new` does not have, and does
    /// both with those that it has otherwise. `process` has the configuration before.
    async fn reload(&mut self, process: &Process, new: &Config) -> Reloaded;

    /// Tries once more to add what could not be added when the configuration was read last.
    async fn retry(&mut self, _: &Process) {}
}

/// What was changed in a running process: the names of pipelines.
pub type Reloaded = runtime::listed::Reloaded<anyhow::Error>;

impl Started {
    /// Adds what another domain has begun.
    pub(crate) fn and(&mut self, other: Self) {
        self.routes.extend(other.routes);
        self.said.extend(other.said);
        self.running.extend(other.running);
    }
}

/// What `config check` found by looking at the buffers of a pipeline and at the store.
#[derive(Debug)]
pub struct Looked {
    /// The pipeline.
    pub line: Line,
    /// Each buffer that accepts, in the order of [`Line::accepting`]: what accepted events survive, or why it could
    /// not be looked at, as a clause.
    pub buffers: Vec<Result<String, String>>,
    /// Why the store could not be used.
    pub store: Option<String>,
    /// Why the pipeline's own tables could not be used.
    pub tables: Option<String>,
}

impl Looked {
    /// Why not all could be looked at, as a clause.
    #[must_use]
    pub fn unchecked(&self) -> Option<String> {
        let store = self.store.as_ref().map(|_| "which settles into that store.".to_owned());
        let tables = self.tables.as_ref().map(|why| format!("which could not be used: {why}"));
        store.or_else(|| self.unchecked_buffer()).or(tables)
    }

    /// Why a buffer could not be looked at, as a clause.
    #[must_use]
    pub fn unchecked_buffer(&self) -> Option<String> {
        let why = self.buffers.iter().find_map(|one| one.as_ref().err())?;
        Some(format!("whose buffer {why}"))
    }
}
