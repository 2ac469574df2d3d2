//! Keeping the write-ahead log short without making commits wait.
//!
//! SQLite's own automatic checkpoint runs inside a commit: whoever commits the thousandth page
//! waits for all of them to be copied and synced. Here a thread with a connection of its own copies
//! pages while the writer goes on. But the log starts over at its beginning only when *everything*
//! in it has been copied at the moment a transaction begins, and under steady traffic that moment
//! never comes by itself. So once the log is long, the writer copies the short tail that is left,
//! between two transactions.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use store::Error;

use crate::{Options, connection};

/// The thread is woken when pages worth this part of the log's bound are not copied yet. The more
/// pages at once, the fewer in all: one that many transactions changed is copied once.
const BEHIND_PART: u64 = 4;
/// A tail of at most this many pages (1 MiB) is short enough to be copied between two transactions.
const TAIL_PAGES_MAX: u64 = 256;

/// The thread, and what the writer knows of it.
pub(crate) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Held while a checkpoint runs: SQLite refuses a second one at the same moment instead of
    /// letting it wait.
    turn: Arc<Mutex<()>>,
    pages_max: u64,
}

/// How far the log has come.
struct Progress {
    /// Pages in the log.
    logged: u64,
    /// Of these, how many are in the database file already.
    copied: u64,
}

impl Progress {
    /// Pages that are only in the log.
    fn behind(&self) -> u64 {
        self.logged.saturating_sub(self.copied)
    }
}

impl Checkpointer {
    pub(crate) fn start(options: &Options) -> Result<Self, Error> {
        let db = connection::checkpointer(options)?;
        let turn = Arc::new(Mutex::new(()));
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn({
                let turn = Arc::clone(&turn);
                move || run(&db, &woken, &turn)
            })
            .map_err(|error| Error::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
            turn,
            pages_max: options.wal_pages_max(),
        })
    }

    /// To be called by the writer after each commit. Returns at once unless the log has reached its
    /// bound.
    pub(crate) fn committed(&self, db: &Connection) -> rusqlite::Result<()> {
        let progress = checkpoint(db, "NOOP")?;
        let (logged, behind) = (progress.logged, progress.behind());
        if behind >= self.pages_max / BEHIND_PART
            && let Some(wake) = &self.wake
            && let Err(TrySendError::Disconnected(())) = wake.try_send(())
        {
            tracing::warn!("the checkpoint thread is gone; the writer copies the log itself");
        }
        let turn = if logged >= self.pages_max {
            // Here the writer waits: rows come in faster than the disk can take their pages.
            Some(self.turn.lock().unwrap_or_else(PoisonError::into_inner))
        } else if logged >= self.pages_max / 2 && behind <= TAIL_PAGES_MAX {
            self.turn.try_lock().ok()
        } else {
            None
        };
        if turn.is_some() {
            checkpoint(db, "PASSIVE")?;
        }
        Ok(())
    }

    /// Empties the log on a full disk, so that the next attempt finds the room that it took.
    pub(crate) fn give_back(&self, db: &Connection) {
        let _turn = self.turn.lock();
        if let Err(error) = checkpoint(db, "TRUNCATE") {
            tracing::warn!(%error, "the disk is full, and the log cannot be emptied");
        }
    }

    /// Ends the thread, then empties the log.
    pub(crate) fn finish(mut self, db: &Connection) -> rusqlite::Result<()> {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It holds nothing that a panic in it could have left half done.
            let _ = thread.join();
        }
        checkpoint(db, "TRUNCATE").map(drop)
    }
}

fn run(db: &Connection, woken: &Receiver<()>, turn: &Mutex<()>) {
    while woken.recv().is_ok() {
        let _turn = turn.lock();
        if let Err(error) = catch_up(db) {
            // Nothing is lost: the pages are in the log, and the next round copies them again.
            tracing::warn!(%error, "a checkpoint failed");
        }
    }
}

/// Copies what is in the log, and then what came in meanwhile, for as long as that gets less.
fn catch_up(db: &Connection) -> rusqlite::Result<()> {
    let mut behind_before = u64::MAX;
    loop {
        checkpoint(db, "PASSIVE")?;
        let behind = checkpoint(db, "NOOP")?.behind();
        if behind <= TAIL_PAGES_MAX || behind >= behind_before {
            return Ok(());
        }
        behind_before = behind;
    }
}

fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<Progress> {
    let mut pragma = db.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    pragma.query_row([], |row| {
        // Both are -1 when another program is running a checkpoint at this moment.
        let pages = |column| row.get(column).map(|n: i64| u64::try_from(n).unwrap_or(0));
        Ok(Progress { logged: pages(1)?, copied: pages(2)? })
    })
}
