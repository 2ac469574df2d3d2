//! Opening the store, with the claim to settle into it and beside the process that has it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use model::clock::Clock;
use store::{
    Claimed, Completions, Error, Keys, Loads, Moves, Pipelines, Processes, Rulesets, Tables,
};
use tokio::sync::{Mutex, mpsc};

use crate::database::{Database, panicked};
use crate::family::{
    completions, keys, loads, moves, payments, pipelines, processes, rulesets, tables,
};
use crate::gate::Gate;
use crate::wal::Checkpointer;
use crate::writer::Writer;
use crate::{Options, connection, migrations};

/// Opens the database with the claim to settle into it, creates it where it is missing, and brings an
/// older one to the present schema. Blocks on the disk. Dropping it lets what waits be written and does
/// not wait for it; closing it does.
///
/// # Errors
/// [`Error::Fatal`] when the path is unusable, the file is not a store, a newer program wrote
/// it, or another process settles into it; [`Error::Unavailable`] when another program holds it
/// for longer than the busy timeout.
pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Claimed, Error> {
    connection::create(&options.path)?;
    let options = options.bounded_by_its_file_system();
    let lock = connection::take(&options)?;
    let mut db = connection::writer(&options).map_err(|error| at(&options, error))?;
    migrations::run(&mut db).map_err(|error| at(&options, error))?;
    let reader = connection::reader(&options.path, options.busy_timeout_ms)
        .map_err(|error| at(&options, error))?;
    let gate = Gate::open(&options.path)?;
    let checkpointer = Checkpointer::start(&options).map_err(|error| at(&options, error))?;
    let (queue, receiver) = mpsc::channel(options.queue_max);
    let database = Database::claimed(reader, queue, options.clone(), Arc::clone(&clock));
    let writer =
        Writer { options, clock, db: Some(db), checkpointer, queue: receiver, gate, _lock: lock };
    let thread = thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || writer.run())
        .map_err(|error| Error::Unavailable(format!("no thread for the writer: {error}")))?;
    let database = Arc::new(database);
    let payments = payments::Payments(Arc::clone(&database));
    let store = Store { database, writer: Mutex::new(Some(thread)) };
    Ok(Claimed::new(Arc::new(store), Arc::new(payments)))
}

/// The store of a process that does not settle, beside one that may. It connects when it is first used;
/// calls return [`Error::Unavailable`] until a process that settles has made the store.
#[must_use]
pub fn beside(options: Options, clock: Arc<dyn Clock>) -> Arc<dyn store::Store> {
    let database = Arc::new(Database::beside(options, clock));
    Arc::new(Store { database, writer: Mutex::new(None) })
}

struct Store {
    database: Arc<Database>,
    /// Of a process that settles, until it is closed.
    writer: Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

#[async_trait]
impl store::Store for Store {
    fn completions(&self) -> Arc<dyn Completions> {
        Arc::new(completions::Completions(Arc::clone(&self.database)))
    }

    fn keys(&self) -> Arc<dyn Keys> {
        Arc::new(keys::Keys(Arc::clone(&self.database)))
    }

    fn loads(&self) -> Arc<dyn Loads> {
        Arc::new(loads::Loads(Arc::clone(&self.database)))
    }

    fn moves(&self) -> Arc<dyn Moves> {
        Arc::new(moves::Moves(Arc::clone(&self.database)))
    }

    fn pipelines(&self) -> Arc<dyn Pipelines> {
        Arc::new(pipelines::Pipelines(Arc::clone(&self.database)))
    }

    fn processes(&self) -> Arc<dyn Processes> {
        Arc::new(processes::Processes(Arc::clone(&self.database)))
    }

    fn rulesets(&self) -> Arc<dyn Rulesets> {
        Arc::new(rulesets::Rulesets(Arc::clone(&self.database)))
    }

    fn tables(&self) -> Arc<dyn Tables> {
        Arc::new(tables::Tables(Arc::clone(&self.database)))
    }

    /// Writes what waits, empties the write-ahead log into the database file, and ends the threads.
    async fn close(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let closed = match writer.take() {
            None => Ok(()),
            Some(thread) => {
                self.database.finish().await;
                let joined = tokio::task::spawn_blocking(|| thread.join()).await;
                joined.ok().and_then(Result::ok).unwrap_or_else(|| Err(panicked()))
            }
        };
        self.database.close().await;
        closed
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
