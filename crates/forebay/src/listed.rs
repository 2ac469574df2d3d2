//! The pipelines of a list of the file, such as `[[table]]`, in a process of this program. See [`runtime::listed`].

use std::fmt::Display;

use anyhow::{Context, Result};
use async_trait::async_trait;
use runtime::Fleet;
use runtime::line::Line;
use runtime::lines::{self, Lines, Opened};
use runtime::listed::{Entry, Host, List, Listed, Pipelines, line_of, pipeline_of};
use settings::{Error, Settings};

use crate::config::{Config, PARSE};
use crate::domain::{Reloaded, Running, Started};
use crate::process::Process;
use crate::{open, registry};

/// A list, as the file has it.
pub(crate) trait Written: List<Process> {
    /// Reads all entries.
    ///
    /// # Errors
    /// The first mistake, with the line of its entry.
    fn read(settings: &Settings) -> Result<Vec<Self::Entry>, Error>;
}

/// The entries of this configuration. Once the buffers of all pipelines are known, theirs are taken from there.
///
/// # Errors
/// If a URL or a bound of one can't be used.
pub(crate) fn all<L: Written>(config: &Config) -> Result<Vec<Listed<L::Entry>>, Error> {
    let entries = L::read(&config.settings)?;
    entries.into_iter().map(|entry| resolved::<L>(config, entry)).collect()
}

/// The pipelines of the entries of this configuration.
///
/// # Errors
/// The same.
pub(crate) fn lines<L: Written>(config: &Config) -> Result<Vec<Line>, Error> {
    Ok(all::<L>(config)?.into_iter().map(|one| one.line).collect())
}

/// The entry of a pipeline.
///
/// # Errors
/// If there is none.
pub(crate) fn of<L: Written>(config: &Config, line: &Line) -> Result<Listed<L::Entry>> {
    let found = all::<L>(config)?.into_iter().find(|one| one.line.pipeline == line.pipeline);
    found.with_context(|| format!("no [[{}]] has the pipeline {}", L::NOUN, line.pipeline))
}

fn resolved<L: Written>(config: &Config, entry: L::Entry) -> Result<Listed<L::Entry>, Error> {
    let at = |error: &dyn Display| Error(format!("{}: {error}", entry.place()));
    let (settings, fields) = (&config.settings, entry.fields());
    let read = |url: &str| registry::buffer_of(settings, url, &fields);
    let line = match config.line(&pipeline_of::<Process, L>(&entry)) {
        Some(line) => line.clone(),
        None => line_of::<Process, L>(&entry, |url| settings.filled(url), &read, PARSE)
            .map_err(|error| at(&error))?,
    };
    let shared = engine::Options { lease_ms: line.lease_ms(), ..config.engine.clone() };
    let engine = entry.engine(shared).map_err(|error| at(&error))?;
    engine.validate().map_err(|error| at(&error))?;
    Ok(Listed { line, engine, entry })
}

/// Starts the pipelines of all entries. They may be changed while the process runs.
///
/// # Errors
/// If one can't be started.
pub(crate) async fn start<L: Written>(list: L, process: &Process) -> Result<Started> {
    let all = all::<L>(&process.config)?;
    let (pipelines, said) = Pipelines::start(list, process, &all).await?;
    Ok(Started { said, running: vec![Box::new(pipelines)], ..Started::default() })
}

#[async_trait(?Send)]
impl<L: Written> Running for Pipelines<Process, L> {
    async fn check(&self, process: &Process, new: &Config) -> Result<()> {
        self.check(process, new, &all::<L>(new)?).await
    }

    async fn reload(&mut self, process: &Process, new: &Config) -> Reloaded {
        match all::<L>(new) {
            Ok(all) => self.reload(process, new, &all).await,
            Err(error) => Reloaded { failed: vec![error.into()], ..Reloaded::default() },
        }
    }

    async fn retry(&mut self, process: &Process) {
        self.retry(process).await;
    }
}

#[async_trait(?Send)]
impl Host for Process {
    type Config = Config;
    type Error = anyhow::Error;

    fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn lines(config: &Config) -> Lines {
        config.lines()
    }

    async fn open(&self, lines: &Lines, line: &Line) -> Result<Opened> {
        self.open_of(lines, line).await
    }

    fn told(error: lines::Error) -> anyhow::Error {
        open::told(error)
    }

    fn of(what: String, error: anyhow::Error) -> anyhow::Error {
        error.context(what)
    }

    fn may_come(error: &anyhow::Error) -> bool {
        open::may_come(error)
    }
}
