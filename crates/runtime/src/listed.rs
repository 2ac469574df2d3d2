//! The pipelines of a list of the configuration, such as `[[table]]`: started, and changed while the process runs.
//!
//! A domain says what an entry is and how its pipeline is made ([`List`]). The program says what a process is
//! ([`Host`]). [`Pipelines`] adds, changes and removes pipelines as a new configuration has them.
//!
//! Invariants
//! - A pipeline that cannot be changed runs as before, unless another one of any list has its buffer, or is to have it.
//! - While entries change, no buffer is opened that another pipeline still has.

mod in_time;
mod pipelines;
mod reloaded;

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use buffer::Buffer;
use buffer::foreign::Fields;
use model::url;
use tokio_util::sync::CancellationToken;

pub use self::in_time::{WITHIN, in_time};
pub use self::pipelines::Pipelines;
pub use self::reloaded::Reloaded;
use crate::line::{Read, alone, next, spill};
use crate::lines::{self, Lines, Opened};
use crate::moving::{Parse, Subject};
use crate::{Fleet, Line, Pipeline, fleet};

/// One entry, as the file has it.
pub trait Entry: Clone + Send + Sync + 'static {
    /// Its name, which no other entry of the list has.
    fn name(&self) -> &str;

    /// Where the file has it: `forebay.toml:12`.
    fn place(&self) -> &str;

    /// Whether it is written like the other one, wherever in the file.
    fn is_same(&self, other: &Self) -> bool;

    /// The URLs of its buffer, of the buffer that it moves to, and of its spill; [`crate::line::NONE`] where there is
    /// none.
    fn urls(&self) -> [String; 3];

    /// The fields that events of other producers have their id and their key in.
    fn fields(&self) -> Fields;

    /// The engine of its pipeline, where `shared` is what all pipelines have.
    ///
    /// # Errors
    /// If a value does not fit the others.
    fn engine(&self, shared: engine::Options) -> Result<engine::Options, engine::Error>;
}

/// An entry, resolved.
#[derive(Debug, Clone)]
pub struct Listed<E> {
    /// Its pipeline, and the buffers of that.
    pub line: Line,
    /// The bounds of its engine.
    pub engine: engine::Options,
    /// The entry itself.
    pub entry: E,
}

impl<E: Entry> Listed<E> {
    /// The name of the entry.
    #[must_use]
    pub fn name(&self) -> &str {
        self.entry.name()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.entry.is_same(&other.entry)
    }
}

/// A process that runs pipelines.
#[async_trait(?Send)]
pub trait Host {
    /// What it is configured with.
    type Config;
    /// Why something cannot be done; displayed with `#` it has its causes.
    type Error: Display + From<Taken> + From<fleet::Error>;

    /// Its pipelines.
    fn fleet(&self) -> &Fleet;

    /// What it runs with.
    fn config(&self) -> &Self::Config;

    /// The buffers of all pipelines of a configuration.
    fn lines(config: &Self::Config) -> Lines;

    /// Opens the buffers of a pipeline of `lines`.
    ///
    /// # Errors
    /// If one can't be opened.
    async fn open(&self, lines: &Lines, line: &Line) -> Result<Opened, Self::Error>;

    /// The same error, as this process says it.
    fn told(error: lines::Error) -> Self::Error;

    /// The same error, with what it is of in front.
    fn of(what: String, error: Self::Error) -> Self::Error;

    /// Whether it may work when it is tried again.
    fn may_come(error: &Self::Error) -> bool;
}

/// Another pipeline has the buffer of an entry.
#[derive(Debug, thiserror::Error)]
pub enum Taken {
    /// Another pipeline has it now, or is to have it.
    #[error(
        "cannot run {one} as before: the pipeline {pipeline} has its buffer; give {one} another buffer"
    )]
    Before {
        /// Which one.
        one: String,
        /// Which one has it.
        pipeline: String,
    },
    /// A pipeline has it still: each list changes at its own turn.
    #[error(
        "cannot run {one} yet: the pipeline {pipeline} still has its buffer; it is tried again"
    )]
    Still {
        /// Which one.
        one: String,
        /// Which one has it.
        pipeline: String,
    },
}

/// A list of a domain, and what its entries share in a process.
#[async_trait(?Send)]
pub trait List<H: Host>: 'static {
    /// An entry of it.
    type Entry: Entry;
    /// What an entry is called. Its pipeline is `NOUN:NAME`.
    const NOUN: &'static str;
    /// What its events are called, in sentences.
    const EVENTS: &'static str;

    /// The command that leads a move of the pipeline of an entry.
    #[must_use]
    fn leads(name: &str) -> String {
        format!("forebay buffer migrate --pipeline {}:{name}", Self::NOUN)
    }

    /// Makes sure that an entry of `config` can run. Returns what was done for that.
    ///
    /// # Errors
    /// If it can't.
    async fn ready(
        &self,
        _host: &H,
        _config: &H::Config,
        _one: &Listed<Self::Entry>,
    ) -> Result<Vec<String>, H::Error> {
        Ok(Vec::new())
    }

    /// The pipeline of an entry of `config`. From now on the server takes events for it. Returns as well what to say
    /// of it.
    ///
    /// # Errors
    /// If it can't be made.
    async fn pipeline(
        &self,
        host: &H,
        config: &H::Config,
        one: &Listed<Self::Entry>,
        buffer: Arc<dyn Buffer>,
    ) -> Result<(Pipeline, Vec<String>), H::Error>;

    /// The server takes no more events for the entry of this name. Returns what is cancelled once no request uses
    /// it, if it was there.
    fn leave(&self, name: &str) -> Option<CancellationToken>;

    /// The server answers 503 for entries of these names while they are not there.
    fn expect(&self, names: Vec<String>);
}

/// The name of the pipeline of an entry.
#[must_use]
pub fn pipeline_of<H: Host, L: List<H>>(entry: &L::Entry) -> String {
    format!("{}:{}", L::NOUN, entry.name())
}

/// The buffers that an entry names. `filled` fills in what URLs leave to the configuration.
///
/// # Errors
/// If a URL can't be used, or they do not fit together.
pub fn line_of<H: Host, L: List<H>>(
    entry: &L::Entry,
    filled: impl Fn(&str) -> String,
    read: Read<'_>,
    parse: Parse,
) -> Result<Line, url::Error> {
    let [of_buffer, of_next, of_spill] = entry.urls().map(|url| filled(&url));
    let (pipeline, command) = (pipeline_of::<H, L>(entry), L::leads(entry.name()));
    let mut line = Line::new(Subject { pipeline, command, parse }, read(&of_buffer)?, L::EVENTS);
    line.of = format!(" of {} {} ({})", L::NOUN, entry.name(), entry.place());
    line.next = next(&of_next, read)?;
    line.spill = spill(&of_spill, &*line.buffer, read)?;
    alone(line.next.as_ref(), line.spill.as_ref())?;
    Ok(line)
}
