//! The database as its families use it: read on one connection, written through the writer's queue,
//! or beside a process that settles on a connection of its own.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use model::clock::{Clock, EpochMs};
use rusqlite::{Connection, ErrorCode};
use store::Error;
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_blocking;

use crate::error::{classify, classify_write};
use crate::gate::{Gate, POLL};
use crate::transaction::{self, Applied, Effect, effect};
use crate::writer::Work;
use crate::{Options, connection, migrations};

/// What all families of one open store share.
pub(crate) struct Database {
    clock: Arc<dyn Clock>,
    /// Histories are asked for once for each card and lane, and then kept by the asker, so one
    /// connection for reading is enough.
    own: Arc<Mutex<Own>>,
    /// The writer's, where this process settles.
    queue: Option<mpsc::Sender<Work>>,
}

impl Database {
    /// Of a process that settles: writes go into `queue`.
    pub(crate) fn claimed(
        reader: Connection,
        queue: mpsc::Sender<Work>,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let own = Own { options, db: Some(reader), gate: None, closed: false };
        Self { clock, own: Arc::new(Mutex::new(own)), queue: Some(queue) }
    }

    /// Of a process that does not settle. Connects when it is first used.
    pub(crate) fn beside(options: Options, clock: Arc<dyn Clock>) -> Self {
        let own = Own { options, db: None, gate: None, closed: false };
        Self { clock, own: Arc::new(Mutex::new(own)), queue: None }
    }

    pub(crate) fn now_ms(&self) -> EpochMs {
        self.clock.now_ms()
    }

    /// Does `work` in a transaction, together with that of other callers where this process settles.
    /// `rows` is how many rows of payments or of tables of others it writes.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        rows: usize,
        work: impl Fn(&Connection, EpochMs) -> rusqlite::Result<Applied<T>> + Send + 'static,
    ) -> Result<T, Error> {
        let (effect, answer) = effect(rows, work);
        if let Some(queue) = &self.queue {
            if queue.send(Work::Write(effect)).await.is_err() {
                return Err(Error::Fatal("it is closed".into()));
            }
        } else {
            let mut own = Arc::clone(&self.own).lock_owned().await;
            let now_ms = self.now_ms();
            // How it ended is in the answer.
            let _ = spawn_blocking(move || own.write(effect, now_ms)).await;
        }
        answer.await.unwrap_or_else(|_| Err(panicked()))
    }

    /// Reads what this program wrote: if that is not what it should be, the store is damaged.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let damaged = |error: rusqlite::Error| match classify(&error) {
            Error::Refused(cause) | Error::Rejected(cause) => Error::Fatal(cause),
            other => other,
        };
        self.look(move |db| query(db).map_err(damaged)).await
    }

    /// Reads.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        // Waiting for the connection takes no thread; reading takes one of those meant for blocking.
        let mut own = Arc::clone(&self.own).lock_owned().await;
        let looked = spawn_blocking(move || query(own.connected()?)).await;
        let unfinished = |e| Error::Unavailable(format!("the read was not finished: {e}"));
        looked.unwrap_or_else(|error| Err(unfinished(error)))
    }

    /// Lets the writer finish what waits: it ends after that.
    pub(crate) async fn finish(&self) {
        if let Some(queue) = &self.queue {
            // Without a receiver the thread is at its end already.
            let _ = queue.send(Work::Close).await;
        }
    }

    /// Closes the connection.
    pub(crate) async fn close(&self) {
        let mut own = Arc::clone(&self.own).lock_owned().await;
        // The last connection to a database empties its log.
        let _ = spawn_blocking(move || own.close()).await;
    }
}

/// The connection that this process has to itself.
struct Own {
    options: Options,
    db: Option<Connection>,
    /// Of a process beside the one that settles, once it has written.
    gate: Option<Gate>,
    closed: bool,
}

impl Own {
    fn connected(&mut self) -> Result<&mut Connection, Error> {
        if self.closed {
            return Err(Error::Fatal("it is closed".into()));
        }
        let db = match self.db.take() {
            Some(db) => db,
            None => self.connect()?,
        };
        Ok(self.db.insert(db))
    }

    /// Connects beside a process that settles: that one makes the store, with its key.
    fn connect(&self) -> Result<Connection, Error> {
        if !self.options.path.exists() {
            let path = self.options.path.display();
            return Err(Error::Unavailable(format!("{path} is not there; a worker makes it")));
        }
        let db = connection::beside(&self.options)?;
        migrations::check(&db)?;
        Ok(db)
    }

    fn write(&mut self, mut effect: Box<dyn Effect>, now_ms: EpochMs) {
        let committed = self.commit(&mut effect, now_ms);
        if committed.is_err() {
            // What it holds in memory after an error is not to be trusted.
            self.db = None;
        }
        effect.answer(committed);
    }

    /// Writes in a transaction of its own, in turn with the process that settles.
    fn commit(&mut self, effect: &mut Box<dyn Effect>, now_ms: EpochMs) -> Result<(), Error> {
        let patience = Duration::from_millis(self.options.busy_timeout_ms.into());
        let end = Instant::now() + patience;
        self.connected()?;
        if self.gate.is_none() {
            self.gate = Some(Gate::open(&self.options.path)?);
        }
        let (Some(db), Some(gate)) = (&self.db, &self.gate) else {
            return Err(Error::Unavailable("it is not connected".into()));
        };
        let Some(closed) = gate.close(end) else {
            let ms = patience.as_millis();
            return Err(Error::Unavailable(format!("other processes wrote for {ms} ms")));
        };
        // The process that settles waits, so its lock is asked for often.
        let begun = db.busy_timeout(Duration::ZERO).and_then(|()| begun_by(db, end));
        let committed = begun.and_then(|()| {
            db.busy_timeout(patience)?;
            transaction::commit(db, std::slice::from_mut(effect), now_ms)
        });
        drop(closed);
        committed.map_err(|error| classify_write(&error))
    }

    fn close(&mut self) {
        self.closed = true;
        self.db = None;
    }
}

/// Begins a transaction that writes, as soon as no other process is in one.
fn begun_by(db: &Connection, end: Instant) -> rusqlite::Result<()> {
    loop {
        match transaction::begin(db) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < end =>
            {
                thread::sleep(POLL);
            }
            begun => return begun,
        }
    }
}

pub(crate) fn panicked() -> Error {
    Error::Fatal("its writer has ended unexpectedly; start the program again".into())
}
