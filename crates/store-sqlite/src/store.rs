//! The store as its users hold it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use model::clock::{Clock, EpochMs};
use rusqlite::Connection;
use store::card::Fingerprint;
use store::{
    Completion, Completions, Error, Fence, History, Keys, Load, Loads, Payments, Row, Rulesets,
    Settlement,
};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::error::classify;
use crate::transaction::{Answer, Applied, Effect};
use crate::wal::Checkpointer;
use crate::writer::{Work, Writer};
use crate::{Options, connection, history, migrations};

/// An open store. Dropping it lets what waits be written and does not wait for it;
/// [`Store::close`] does.
#[derive(Debug)]
pub struct Store {
    queue: mpsc::Sender<Work>,
    /// One reader: histories are asked for once for each card and lane, and then kept by the asker.
    reader: Arc<Mutex<Connection>>,
    writer: Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

impl Store {
    /// Opens the database, creates it where it is missing, and brings an older one to the present
    /// schema. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the path is unusable, the file is not a store, a newer program wrote
    /// it, or another process settles into it; [`Error::Unavailable`] when another program holds it
    /// for longer than the busy timeout.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        connection::create(&options.path)?;
        let options = options.bounded_by_its_file_system();
        let lock = connection::take(&options)?;
        let mut db = connection::writer(&options).map_err(|error| at(&options, error))?;
        migrations::run(&mut db).map_err(|error| at(&options, error))?;
        let reader = connection::reader(&options.path, options.busy_timeout_ms)
            .map_err(|error| at(&options, error))?;
        let checkpointer = Checkpointer::start(&options).map_err(|error| at(&options, error))?;
        let (queue, receiver) = mpsc::channel(options.queue_max);
        let writer =
            Writer { options, clock, db: Some(db), checkpointer, queue: receiver, _lock: lock };
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| Error::Unavailable(format!("no thread for the writer: {error}")))?;
        Ok(Self { queue, reader: Arc::new(Mutex::new(reader)), writer: Mutex::new(Some(thread)) })
    }

    /// Writes what waits, empties the write-ahead log into the database file, and ends the threads.
    /// A second call waits for the first and does nothing. Later writes fail.
    ///
    /// # Errors
    /// If the log can't be emptied. What was settled is safe in it all the same.
    pub async fn close(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let Some(thread) = writer.take() else { return Ok(()) };
        // Without a receiver the thread is at its end already.
        let _ = self.queue.send(Work::Close).await;
        let joined = tokio::task::spawn_blocking(|| thread.join()).await;
        joined.ok().and_then(Result::ok).unwrap_or_else(|| Err(panicked()))
    }

    pub(crate) fn queue(&self) -> &mpsc::Sender<Work> {
        &self.queue
    }

    pub(crate) fn reader(&self) -> &Arc<Mutex<Connection>> {
        &self.reader
    }

    async fn write(&self, effect: Effect) -> Answer {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Work::Write { effect, reply }).await.is_err() {
            return Err(Error::Fatal("it is closed".into()));
        }
        answer.await.unwrap_or_else(|_| Err(panicked()))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        // Waiting for the reader takes no thread; reading takes one of those meant for blocking.
        let mut db = Arc::clone(&self.reader).lock_owned().await;
        let read = tokio::task::spawn_blocking(move || query(&mut db)).await;
        match read {
            Ok(result) => result.map_err(|error| match classify(&error) {
                // Nothing was given that could be at fault: what is stored is not what it should be.
                Error::Refused(cause) | Error::Rejected(cause) => Error::Fatal(cause),
                other => other,
            }),
            Err(error) => Err(Error::Unavailable(format!("the read was not finished: {error}"))),
        }
    }
}

#[async_trait]
impl Payments for Store {
    /// No other process settles into the file, so each fence is the latest.
    async fn settle_fenced(&self, rows: Vec<Row>, _: &[Fence]) -> Result<Settlement, Error> {
        if rows.is_empty() {
            return Ok(Settlement::Settled);
        }
        match self.write(Effect::Payments(rows)).await? {
            Applied::Duplicates(named) => Ok(Settlement::Duplicates(named)),
            Applied::Settled => Ok(Settlement::Settled),
            other => Err(Error::Fatal(format!("cannot settle: the writer answered {other:?}"))),
        }
    }

    async fn fence(&self, shards: &[u32]) -> Result<Vec<Fence>, Error> {
        Ok(shards.iter().map(|&shard| Fence { shard, token: 1 }).collect())
    }

    async fn histories(
        &self,
        cards: &[Fingerprint],
        recent_max: usize,
    ) -> Result<Vec<History>, Error> {
        if cards.is_empty() {
            return Ok(Vec::new());
        }
        let cards = cards.to_vec();
        self.read(move |db| history::read(db, &cards, recent_max)).await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        self.read(|db| history::is_empty(db)).await
    }
}

#[async_trait]
impl Completions for Store {
    async fn complete(&self, completion: Completion) -> Result<(), Error> {
        self.write(Effect::Completion(completion)).await.map(drop)
    }
}

#[async_trait]
impl Keys for Store {
    async fn same_key(&self, check: Fingerprint) -> Result<bool, Error> {
        self.write(Effect::Key(check)).await.map(|applied| applied == Applied::SameKey(true))
    }
}

#[async_trait]
impl Rulesets for Store {
    async fn ruleset_version(&self, rules: &str) -> Result<i64, Error> {
        store::rulesets::bounded(rules)?;
        match self.write(Effect::Ruleset(rules.to_owned())).await? {
            Applied::Ruleset(version) => Ok(version),
            other => {
                Err(Error::Fatal(format!("cannot number the rules: the writer answered {other:?}")))
            }
        }
    }
}

#[async_trait]
impl Loads for Store {
    async fn record(&self, load: Load, forget_before_ms: EpochMs) -> Result<(), Error> {
        self.write(Effect::Load { load: Box::new(load), forget_before_ms }).await.map(drop)
    }
}

/// Adds which file it is to an error of opening it.
fn at(options: &Options, error: Error) -> Error {
    let path = options.path.display();
    match error {
        Error::Unavailable(text) => Error::Unavailable(format!("{path}: {text}")),
        Error::Refused(text) => Error::Refused(format!("{path}: {text}")),
        Error::Rejected(text) => Error::Rejected(format!("{path}: {text}")),
        Error::Fatal(text) => Error::Fatal(format!("{path}: {text}")),
    }
}

pub(crate) fn panicked() -> Error {
    Error::Fatal("its writer has ended unexpectedly; start the program again".into())
}
