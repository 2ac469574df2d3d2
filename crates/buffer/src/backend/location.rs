//! A buffer that a URL names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use model::clock::Clock;

use super::held::Each;
use super::members::Distribution;
use super::report::{Progress, Report};
use crate::{Buffer, DeadLetter, Depth, Error, Identity};

/// A buffer that a URL names, not open. Its secrets are never printed.
///
/// Questions are answered beside processes that have the buffer open; none of them is joined or changed. Where a
/// buffer lies on this machine's disk, an answer may block, so that the runtime needs a second thread.
#[async_trait]
pub trait Location: fmt::Debug + Send + Sync + 'static {
    /// The name of its backend, as [`crate::Kind::name`].
    fn kind(&self) -> &'static str;

    /// What it is called where it lies: a list, a topic, a queue, a folder.
    fn name(&self) -> String;

    /// Where it lies, as a noun: `Redis (list q at h:6379)`.
    fn place(&self) -> String;

    /// Which buffer it is, whatever its spelling and its options. May block on the disk.
    fn identity(&self) -> Identity;

    /// How long its leases last, in milliseconds.
    fn lease_ms(&self) -> u64;

    /// Whether several processes may lease from it at once.
    fn is_shared(&self) -> bool;

    /// Whether what it holds is gone when the process that opened it ends.
    fn is_volatile(&self) -> bool {
        false
    }

    /// The folder of this machine that its events lie in, if they lie in one. It may be missing.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Why events of one key may come out of order; `None` where they never do.
    fn unordered(&self) -> Option<Unordered> {
        None
    }

    /// What accepted events survive, as one sentence. `events` are what they are called: `payments`.
    fn accepted(&self, events: &str) -> String;

    /// What accepted events survive, as a noun.
    fn survives(&self) -> String;

    /// How an event lies in it and until when, as a clause. `event` is what it is called: `payment`.
    fn holds(&self, event: &str) -> String {
        format!(
            "the buffer holds each {event} as it came until it is settled, and dead letters until they \
             are dropped"
        )
    }

    /// Opens it.
    ///
    /// # Errors
    /// If it can't be reached, unless `opening` is lazy; if it can't be used as configured; if another process
    /// has it.
    async fn open(&self, opening: &Opening) -> Result<Opened, Error>;

    /// Looks whether it could be used, where opening it would join the processes that have it open. Returns what a
    /// person should know, one sentence each. `None`: open it to see.
    ///
    /// # Errors
    /// If it can't be read, or can't be used as it is.
    async fn look(&self) -> Result<Option<Vec<String>>, Error> {
        Ok(None)
    }

    /// Looks whether what it needs from this machine is there: its keys. May block on the disk.
    ///
    /// # Errors
    /// If something is missing.
    fn validate(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Asks what accepted events survive. `None`: [`Location::accepted`] says all that there is.
    ///
    /// # Errors
    /// If it can't be asked.
    async fn durability(&self) -> Result<Option<Durability>, Error> {
        Ok(None)
    }

    /// How much it holds.
    ///
    /// # Errors
    /// If it can't be read, or is not there.
    async fn depth(&self) -> Result<Depth, Error> {
        Err(Error::Unsupported(self.refusal()))
    }

    /// How much it holds, and what else an operator looks at.
    ///
    /// # Errors
    /// The same.
    async fn stat(&self) -> Result<Report, Error> {
        Ok(Report::of_depth(&self.name(), &self.depth().await?))
    }

    /// Hands every event that is neither settled nor buried to `each`, oldest first, until that returns false.
    ///
    /// # Errors
    /// If it can't be read, or is not there. Events read until then have been handed over.
    async fn pending(&self, _each: Each<'_>) -> Result<(), Error> {
        Err(Error::Unsupported(self.refusal()))
    }

    /// The dead letters, in their order. Where looking hides them from others, they are given back as soon as
    /// `stop` resolves.
    ///
    /// # Errors
    /// If they can't be read, or [`Error::Closed`] after `stop`.
    async fn dead(&self, _stop: Stop<'_>) -> Result<Vec<DeadLetter>, Error> {
        Err(Error::Unsupported(self.refusal()))
    }

    /// Reads everything and checks every checksum.
    ///
    /// # Errors
    /// If it can't be read, or the backend keeps no checksums.
    async fn verify(&self, _progress: Progress<'_>) -> Result<Report, Error> {
        Err(Error::Unsupported(self.refusal()))
    }

    /// Rewrites what is damaged without its damage.
    ///
    /// # Errors
    /// If another process has it, it can't be written, or the backend can't be repaired.
    async fn repair(&self) -> Result<Report, Error> {
        Err(Error::Unsupported(self.refusal()))
    }

    /// Which process holds which shards and leases.
    ///
    /// # Errors
    /// If it can't be read, or the backend does not show it.
    async fn distribution(&self) -> Result<Distribution, Error> {
        let problem = "only of a Redis are shards and leases seen from outside; `forebay buffer stat` \
                       looks at any other buffer, and Kafka's own kafka-consumer-groups.sh at a group";
        Err(Error::Unsupported(problem.to_owned()))
    }

    /// The process of the server that holds it; `None` where there is none, or where it is unknown.
    ///
    /// # Errors
    /// If the server can't be asked.
    async fn server(&self) -> Result<Option<Server>, Error> {
        Ok(None)
    }

    /// The same buffer on this machine, with its files in `folder`; `None` where it lies elsewhere.
    fn in_folder(&self, _folder: &Path) -> Option<Arc<dyn Location>> {
        None
    }

    /// The same under another name, for a buffer that is made to measure; `None` where that can't be made and
    /// purged.
    fn renamed(&self, _name: &str) -> Option<Arc<dyn Location>> {
        None
    }

    /// Removes the buffer and leaves a mark. Opening it later fails.
    ///
    /// # Errors
    /// [`Error::Held`] while it holds anything or a process has it; if it can't be removed, or the backend can't
    /// remove a buffer.
    async fn erase(&self) -> Result<(), Error> {
        Err(Error::Unsupported(self.refusal()))
    }

    /// Removes the buffer with everything it holds, and leaves no mark: for one that is made to measure
    /// ([`Location::renamed`]).
    ///
    /// # Errors
    /// If it can't be removed, or the backend can't.
    async fn purge(&self) -> Result<(), Error> {
        Err(Error::Unsupported(self.refusal()))
    }

    /// Why the backend can't do what was asked for, and what to do instead.
    fn refusal(&self) -> String {
        let kind = self.kind();
        format!(
            "a {kind}: buffer can't do this; `forebay buffer stat` counts, and `forebay config check` \
             looks at how it is kept"
        )
    }
}

/// Resolves when a look should end.
pub type Stop<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What a buffer is opened with.
#[derive(Clone)]
pub struct Opening {
    /// The id of this process, where several are shown side by side.
    pub process: String,
    /// The clock that deadlines follow, where no server has a clock of its own.
    pub clock: Arc<dyn Clock>,
    /// Whether opening succeeds though the buffer can't be reached, to go on trying later.
    pub is_lazy: bool,
    /// What else lies on this machine's disks.
    pub disk: Disk,
}

/// What this process keeps on this machine's disks.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// The file of a store, which needs room to settle what the buffers beside it hold.
    pub store: Option<PathBuf>,
    /// The folders of all its buffers ([`Location::folder`]).
    pub buffers: Vec<PathBuf>,
}

/// An open buffer.
pub struct Opened {
    /// The buffer.
    pub buffer: Arc<dyn Buffer>,
    /// What opening it found, one sentence each.
    pub found: Vec<String>,
}

impl Opened {
    /// A buffer of which there is nothing to say.
    pub fn new(buffer: impl Buffer) -> Self {
        Self { buffer: Arc::new(buffer), found: Vec::new() }
    }
}

/// What a server promises of accepted events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durability {
    /// What they survive, as a noun.
    pub survives: String,
    /// What is wrong and how to mend it, one sentence each. With any, the buffer is not durable.
    pub problems: Vec<String>,
    /// What should be known all the same.
    pub warnings: Vec<String>,
}

/// Why events of one key may come out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unordered {
    /// The noun of what gives them out: `a standard queue of SQS`.
    pub by: &'static str,
    /// What to do about it, as an imperative: `use a .fifo queue`.
    pub remedy: &'static str,
}

impl Unordered {
    /// What is promised of it: one sentence. `effect` is what that may do, as a clause: `they may be delivered so`.
    #[must_use]
    pub fn said(&self, effect: &str) -> String {
        let Self { by, remedy } = self;
        format!(
            "NO ORDER: {by} gives out the events of a key in any order and to several workers at once, so \
             {effect}; {remedy} to keep the order of each key."
        )
    }
}

/// The process of a server, where it runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What the server is called.
    pub name: &'static str,
    /// The name of its program.
    pub program: &'static str,
    /// Its process id, on its own machine.
    pub pid: u32,
}
