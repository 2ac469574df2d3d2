//! Opens what a configuration names. The only place where backends are picked.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use buffer::Buffer;
use buffer::memory::Memory;
use buffer_journal::{JournalBuffer, Recovery};
use model::clock::{Clock, System};
use store::card::Guard;

use crate::config::{self, Config};
use crate::{fingerprint, url};

/// An open buffer, and what opening it found.
pub(crate) struct Opened {
    pub(crate) buffer: Arc<dyn Buffer>,
    /// `None` where there is nothing to recover.
    pub(crate) recovery: Option<Recovery>,
}

/// The machine's clock, as everything here takes it.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(System)
}

/// Opens the buffer.
///
/// # Errors
/// If it can't be opened, or another process has it.
pub(crate) fn buffer(buffer: &url::Buffer) -> Result<Opened> {
    match buffer {
        url::Buffer::Journal(options) => {
            let (journal, recovery) = JournalBuffer::open(options.clone(), clock())
                .context("the buffer can't be opened")?;
            Ok(Opened { buffer: Arc::new(journal), recovery: Some(recovery) })
        }
        url::Buffer::Memory(options) => {
            let memory = Memory::new(options.clone(), clock());
            Ok(Opened { buffer: Arc::new(memory), recovery: None })
        }
    }
}

/// Opens the store, made if it is not there, and the guard of its card numbers.
///
/// # Errors
/// If either can't be opened.
pub(crate) fn store(config: &Config) -> Result<(Arc<store_sqlite::Store>, Arc<Guard>)> {
    let url::Store::Sqlite(options) = &config.store;
    // The key comes first: a store without its key is of no use, a key without a store does no harm.
    let key = fingerprint::key(&config.key_file, &options.path)?;
    let store = store_sqlite::Store::open(options.clone(), clock())?;
    Ok((Arc::new(store), Arc::new(Guard::new(&key, config.cards_clear))))
}

/// The directory of the journal, for looking at it from outside.
///
/// # Errors
/// If the buffer is none that can be looked at, or is not there.
pub(crate) fn journal_dir(buffer: &url::Buffer) -> Result<&Path> {
    let url::Buffer::Journal(options) = buffer else {
        let problem = "a memory: buffer lives and dies with its process; only a journal: can be \
                       looked at from outside";
        bail!(config::Error(problem.to_owned()));
    };
    if !options.dir.is_dir() {
        let dir = options.dir.display();
        bail!("there is no journal in {dir} yet; `forebay serve` or `forebay demo` makes one");
    }
    Ok(&options.dir)
}

/// What recovery found, one sentence a line.
pub(crate) fn recovered(recovery: &Recovery) -> Vec<String> {
    let Recovery { records, torn_bytes, damaged_bytes, missing, .. } = recovery;
    let mut lines = Vec::new();
    if *records > 0 {
        lines.push(format!("Recovered {records} events that were accepted and not settled."));
    }
    if *torn_bytes > 0 {
        lines.push(format!(
            "Cut off {torn_bytes} bytes at the end that were being written when the last process \
             died; nobody was told that they were accepted."
        ));
    }
    if *damaged_bytes > 0 || *missing > 0 {
        lines.push(format!(
            "DAMAGE: {damaged_bytes} bytes are quarantined and {missing} accepted events are gone; \
             see `forebay buffer verify`."
        ));
    }
    lines
}
