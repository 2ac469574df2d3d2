//! Opens what a configuration names. The only place where backends are picked.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use buffer::Buffer;
use buffer::memory::Memory;
use buffer::spill::Spill;
use buffer_journal::{JournalBuffer, Recovery};
use buffer_kafka::KafkaBuffer;
use buffer_redis::RedisBuffer;
use buffer_sqs::SqsBuffer;
use journal::fs::disk::file_system;
use model::clock::{Clock, System};
use runtime::moving::{self, Follower, follow};
use store::card::Guard;
use store::{Claimed, Moves, Store};
use tokio::task::block_in_place;

use crate::config::{self, Config, Next};
use crate::moving::{refuse_left, way};
use crate::{fingerprint, identity, url};

/// An open buffer, and what opening it found.
pub(crate) struct Opened {
    pub(crate) buffer: Arc<dyn Buffer>,
    /// `None` where there is nothing to recover.
    pub(crate) recovery: Option<Recovery>,
    /// Where the pipeline is on its way to another buffer. To be stopped after the buffer is closed.
    pub(crate) follower: Option<Follower>,
}

impl Opened {
    fn new(buffer: impl Buffer) -> Self {
        Self { buffer: Arc::new(buffer), recovery: None, follower: None }
    }
}

/// The machine's clock, as everything here takes it.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(System)
}

/// Opens the buffer, as `config` needs it.
///
/// # Errors
/// If it can't be opened, or another process has it.
pub(crate) async fn buffer(buffer: &url::Buffer, config: &Config) -> Result<Opened> {
    let opened = match buffer {
        url::Buffer::Journal(options) => {
            let options = beside_store(options, config);
            // Recovering a large backlog takes a while, in which signals must be heard.
            let opened = block_in_place(|| JournalBuffer::open(options, clock()));
            let (journal, recovery) = opened.context("the buffer can't be opened")?;
            Opened { recovery: Some(recovery), ..Opened::new(journal) }
        }
        url::Buffer::Memory(options) => Opened::new(Memory::new(options.clone(), clock())),
        url::Buffer::Redis(options) => {
            let options =
                buffer_redis::Options { process: identity::process(), ..(**options).clone() };
            let redis = RedisBuffer::open(options).await;
            Opened::new(redis.context("the buffer can't be opened")?)
        }
        url::Buffer::Kafka(options) => {
            let kafka = KafkaBuffer::open((**options).clone()).await;
            Opened::new(kafka.context("the buffer can't be opened")?)
        }
        url::Buffer::Sqs(options) => {
            let sqs = SqsBuffer::open((**options).clone()).await;
            Opened::new(sqs.context("the buffer can't be opened")?)
        }
    };
    Ok(opened)
}

/// Opens the buffer that `config` names: behind its spill if it names one, and beside the next one if
/// the pipeline moves.
///
/// # Errors
/// If one can't be opened, or a move has left it. With a spill, a buffer that is out of reach is no error.
pub(crate) async fn configured_buffer(config: &Config) -> Result<Opened> {
    if let Some(next) = &config.next {
        return Both::open(config, next).await?.join(config, next).await;
    }
    refuse_left(config, &config.buffer).await?;
    let Some(spill) = &config.spill else {
        return buffer(&config.buffer, config).await;
    };
    let primary = match &config.buffer {
        url::Buffer::Redis(options) => {
            let options = buffer_redis::Options { lazy: true, ..(**options).clone() };
            url::Buffer::Redis(Box::new(options))
        }
        url::Buffer::Kafka(options) => {
            let options = buffer_kafka::Options { lazy: true, ..(**options).clone() };
            url::Buffer::Kafka(Box::new(options))
        }
        url::Buffer::Sqs(options) => {
            let options = buffer_sqs::Options { lazy: true, ..(**options).clone() };
            url::Buffer::Sqs(Box::new(options))
        }
        other => other.clone(),
    };
    let primary = buffer(&primary, config).await?.buffer;
    let spill = beside_store(spill, config);
    let local = block_in_place(|| JournalBuffer::open(spill, clock()));
    let (local, recovery) = local.context("the spill can't be opened")?;
    let spill = Spill::new(primary, Arc::new(local), clock());
    Ok(Opened { recovery: Some(recovery), ..Opened::new(spill) })
}

/// The journal as `config` needs it: on the file system of a SQLite store it leaves room for the store to
/// settle what the journals there hold, whichever process or verb writes to it.
fn beside_store(options: &buffer_journal::Options, config: &Config) -> buffer_journal::Options {
    let url::Store::Sqlite(store) = &config.store else { return options.clone() };
    let Some(here) = file_system(&options.dir) else { return options.clone() };
    if Some(here) != file_system(&store.path) {
        return options.clone();
    }
    let tables = config.tables.iter().map(|table| &table.buffer);
    let next = config.next.iter().map(|next| &next.buffer);
    let journals = [&config.buffer].into_iter().chain(next).chain(tables).filter_map(|buffer| {
        let url::Buffer::Journal(options) = buffer else { return None };
        Some(options)
    });
    let mut dirs: BTreeSet<&Path> =
        journals.chain(&config.spill).map(|options| &*options.dir).collect();
    dirs.insert(&options.dir);
    let journals = dirs.into_iter().filter(|dir| file_system(dir) == Some(here)).count() as u64;
    options.clone().beside_store(here.bytes, journals)
}

/// The two buffers of a pipeline that moves, before it is known how far it has.
pub(crate) struct Both {
    source: Opened,
    target: Opened,
}

impl Both {
    /// Opens them.
    ///
    /// # Errors
    /// If one can't be opened.
    pub(crate) async fn open(config: &Config, next: &Next) -> Result<Self> {
        let source = buffer(&config.buffer, config).await?;
        let target = buffer(&next.buffer, config).await.context("next_buffer")?;
        Ok(Self { source, target })
    }

    /// Makes one of them, which goes along with the move. The store has to be there.
    ///
    /// # Errors
    /// If the store can't be reached.
    pub(crate) async fn join(self, config: &Config, next: &Next) -> Result<Opened> {
        let Self { source, target } = self;
        let moves = moves(&config.store).await?;
        let (way, process) = (way(config, next), identity::process());
        let followed = follow(source.buffer, target.buffer, moves, way, &process, clock()).await;
        let (moving, follower) = followed.map_err(|error| match error {
            moving::Error::Store(_) => {
                anyhow::Error::from(error).context("cannot join the move to next_buffer")
            }
            refused => refused.into(),
        })?;
        let recovery = source.recovery.or(target.recovery);
        Ok(Opened { buffer: moving, recovery, follower: Some(follower) })
    }
}

/// The store, beside the process that settles into it. It connects when it is first used.
///
/// # Errors
/// If an option is wrong.
pub(crate) fn beside(store: &url::Store) -> Result<Arc<dyn Store>> {
    Ok(match store {
        url::Store::Sqlite(options) => store_sqlite::beside(options.clone(), clock()),
        url::Store::Postgres(options) => store_postgres::beside((**options).clone(), clock())?,
    })
}

/// What keeps track of moves between buffers, in the store that `store` names.
///
/// # Errors
/// If an option is wrong.
pub(crate) async fn moves(store: &url::Store) -> Result<Arc<dyn Moves>> {
    Ok(beside(store)?.moves())
}

/// Opens the store and the guard of its card numbers. A SQLite store is made if it is not there.
///
/// # Errors
/// If either can't be opened, or the store was begun with another key.
pub(crate) async fn store(config: &Config) -> Result<(Claimed, Arc<Guard>)> {
    let guard = |key| Arc::new(Guard::new(&key, config.cards_clear));
    let (store, guard) = match &config.store {
        url::Store::Sqlite(options) => {
            // The key comes first: a store without its key is of no use, a key without a store does
            // no harm.
            let there = block_in_place(|| store_sqlite::inspect::is_store(&options.path))?;
            let there = there.then(|| options.path.display().to_string());
            let guard = guard(fingerprint::key(&config.key_file, there.as_deref())?);
            (block_in_place(|| store_sqlite::open(options.clone(), clock()))?, guard)
        }
        url::Store::Postgres(options) => {
            let store = store_postgres::open((**options).clone(), clock()).await?;
            let there = (!store.payments().is_empty().await?).then_some("in PostgreSQL");
            (store, guard(fingerprint::key(&config.key_file, there)?))
        }
    };
    if !store.keys().same_key(guard.key_check()).await? {
        store.close().await?;
        return Err(fingerprint::another(&config.key_file));
    }
    Ok((store, guard))
}

/// Whether it may work if it is tried again: a buffer or a store was out of reach, or another process,
/// which may be about to end, still had a buffer or an address.
pub(crate) fn may_come(error: &anyhow::Error) -> bool {
    use buffer::Error::{Held, Unavailable};
    error.chain().any(|cause| {
        let buffer = matches!(cause.downcast_ref(), Some(Unavailable(_) | Held(_)));
        let store = matches!(cause.downcast_ref(), Some(store::Error::Unavailable(_)));
        let moves = matches!(
            cause.downcast_ref(),
            Some(moving::Error::Store(store::Error::Unavailable(_)))
        );
        let address = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        buffer || store || moves || address == Some(io::ErrorKind::AddrInUse)
    })
}

/// Tables of others, in the store that `config` names: through `store` where it is open here, or
/// else beside the process that settles into it.
///
/// # Errors
/// If an option is wrong.
pub(crate) fn tables(config: &Config, store: Option<&Claimed>) -> Result<Arc<dyn store::Tables>> {
    Ok(match store {
        Some(store) => store.tables(),
        None => beside(&config.store)?.tables(),
    })
}

/// The journal, for looking at it from outside.
///
/// # Errors
/// If the buffer is none that can be looked at, or is not there.
pub(crate) fn journal(buffer: &url::Buffer) -> Result<&buffer_journal::Options> {
    if let url::Buffer::Sqs(_) = buffer {
        let problem = "SQS shows nothing without handing it out, and keeps no checksums of ours; \
                       `forebay buffer stat` counts, and `forebay config check` looks at how it is \
                       kept";
        bail!(config::Error(problem.to_owned()));
    }
    let url::Buffer::Journal(options) = buffer else {
        let problem = "a memory: buffer lives and dies with its process; only a journal: can be \
                       looked at from outside";
        bail!(config::Error(problem.to_owned()));
    };
    if !options.dir.is_dir() {
        let dir = options.dir.display();
        bail!("there is no journal in {dir} yet; `forebay serve` or `forebay demo` makes one");
    }
    Ok(options)
}

/// What recovery found, one finding a line.
pub(crate) fn recovered(recovery: &Recovery) -> Vec<String> {
    let Recovery { events, letters } = recovery;
    let mut lines = Vec::new();
    if events.records > 0 {
        lines.push(format!(
            "Recovered {} events that were accepted and not settled.",
            events.records
        ));
    }
    if events.ahead > 0 {
        let (ahead, next) = (events.ahead, events.checkpoint.next_seq);
        lines.push(format!(
            "The events of {ahead} dead letters lie past the end of the journal: dead/ is newer than \
             the segments. New events are numbered from {next}."
        ));
    }
    if events.torn_bytes > 0 {
        let held = match events.doubtful {
            0 => "how many accepted events it held is unknown".to_owned(),
            n => format!("the {n} events that are missing there may have been accepted"),
        };
        lines.push(format!(
            "Cut off {} bytes at the end of the journal that hold no event; a copy is in quarantine/. \
             It is an unfinished write, or damage; {held}.",
            events.torn_bytes
        ));
    }
    if events.damaged_bytes > 0 || events.missing > 0 {
        lines.push(format!(
            "DAMAGE: {} bytes are quarantined and {}; see `forebay buffer verify`.",
            events.damaged_bytes,
            gone(events.missing, events.end_known)
        ));
    }
    if letters.torn_bytes > 0 {
        lines.push(format!(
            "Cut off {} bytes at the end of dead/ that hold no letter; their events are settled again.",
            letters.torn_bytes
        ));
    }
    if letters.damaged_bytes > 0 || letters.missing > 0 {
        lines.push(format!(
            "DAMAGE in dead/: {} bytes are quarantined and {} dead letters, or notes that letters \
             were dropped, are gone; see `forebay buffer verify`.",
            letters.damaged_bytes, letters.missing
        ));
    }
    lines
}

/// How many accepted events are gone: exactly, where the end of the journal is known.
pub(crate) fn gone(missing: u64, end_known: bool) -> String {
    if end_known {
        return format!("{missing} accepted events are gone");
    }
    format!(
        "at least {missing} accepted events are gone (the last process did not close the journal: \
         events accepted after its last checkpoint may be gone, too)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(events: journal::Recovery, letters: journal::Recovery) -> String {
        recovered(&Recovery { events, letters }).join("\n")
    }

    #[test]
    fn a_loss_is_exact_only_where_the_end_is_known() {
        let found = journal::Recovery { missing: 3, ..Default::default() };
        let known = journal::Recovery { end_known: true, ..found.clone() };
        assert!(said(found, Default::default()).contains("at least 3 accepted events"));
        assert!(said(known, Default::default()).contains("and 3 accepted events"));
    }

    #[test]
    fn bytes_cut_off_are_never_called_unaccepted() {
        let found = journal::Recovery { torn_bytes: 9, ..Default::default() };
        let said_of_none = said(found.clone(), Default::default());
        assert!(said_of_none.contains("how many accepted events it held is unknown"));
        let two = journal::Recovery { doubtful: 2, ..found };
        assert!(said(two, Default::default()).contains("the 2 events that are missing there may"));
    }

    #[test]
    fn damage_among_the_dead_letters_is_reported_by_its_folder() {
        let found = journal::Recovery { missing: 1, damaged_bytes: 70, ..Default::default() };
        assert!(said(Default::default(), found).contains("DAMAGE in dead/: 70 bytes"));
    }
}
