//! The thread that owns the writing connection.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use model::clock::Clock;
use rusqlite::{Connection, ErrorCode};
use store::Error;
use tokio::sync::mpsc;

use crate::error::{classify, classify_write};
use crate::gate::Gate;
use crate::transaction::{self, Effect};
use crate::wal::Checkpointer;
use crate::{Options, connection};

/// Callers served by one commit.
const GROUP_CALLERS_MAX: usize = 8;
/// Rows after which no further caller is taken into the group.
const GROUP_ROWS_MAX: usize = 20_000;

/// What comes through the queue.
pub(crate) enum Work {
    Write(Box<dyn Effect>),
    /// No more is let in; what waits is still done.
    Close,
}

/// Everything the thread holds.
pub(crate) struct Writer {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` after a failure, until the next transaction opens it anew.
    pub(crate) db: Option<Connection>,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) queue: mpsc::Receiver<Work>,
    pub(crate) gate: Gate,
    /// Keeps other processes from settling into the same store. Let go last.
    pub(crate) _lock: File,
}

impl Writer {
    /// Serves the queue until it is closed and empty, then empties the log.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let mut effects = Vec::with_capacity(GROUP_CALLERS_MAX);
        while let Some(first) = self.queue.blocking_recv() {
            let mut next = Some(first);
            let mut rows = 0;
            while let Some(work) = next {
                match work {
                    Work::Write(effect) => {
                        rows += effect.rows();
                        effects.push(effect);
                    }
                    Work::Close => self.queue.close(),
                }
                let full = effects.len() >= GROUP_CALLERS_MAX || rows >= GROUP_ROWS_MAX;
                next = if full { None } else { self.queue.try_recv().ok() };
            }
            if !effects.is_empty() {
                self.serve(&mut effects);
            }
        }
        let db = self.db.take().map_or_else(|| connection::writer(&self.options), Ok)?;
        self.checkpointer.finish(&db).map_err(|error| classify(&error))
    }

    /// Commits, and says to each caller what became of its effect. Leaves `effects` empty.
    fn serve(&mut self, effects: &mut Vec<Box<dyn Effect>>) {
        let committed = self.commit(effects);
        match &committed {
            // One caller's row undid the transaction of all (RAISE(ROLLBACK), a constraint that is
            // checked at COMMIT): each has one of its own, so that no other is blamed.
            Err(Error::Refused(_) | Error::Rejected(_)) if effects.len() > 1 => {
                for alone in std::mem::take(effects) {
                    self.serve(&mut vec![alone]);
                }
                return;
            }
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(error) => tracing::warn!(%error, "a transaction failed"),
        }
        effects.drain(..).for_each(|effect| effect.answer(committed.clone()));
    }

    fn commit(&mut self, effects: &mut [Box<dyn Effect>]) -> Result<(), Error> {
        let db = match self.db.take() {
            Some(db) => db,
            None => connection::writer(&self.options)?,
        };
        self.gate.pass();
        let began = Instant::now();
        // On an error the connection is dropped here: what it holds in memory is not to be trusted.
        let now_ms = self.clock.now_ms();
        let committed =
            transaction::begin(&db).and_then(|()| transaction::commit(&db, effects, now_ms));
        committed.map_err(|error| {
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                self.checkpointer.give_back(&db);
            }
            classify_write(&error)
        })?;
        metrics::histogram!("store_commit_seconds").record(began.elapsed());
        let kept = effects.iter().filter(|effect| effect.is_kept());
        let rows: usize = kept.map(|effect| effect.rows()).sum();
        metrics::counter!("store_rows_total").increment(u64::try_from(rows).unwrap_or(u64::MAX));
        // The rows are durable: a log that can't be copied now is no reason to say otherwise.
        match self.checkpointer.committed(&db) {
            Ok(()) => self.db = Some(db),
            Err(error) => tracing::warn!(%error, "a checkpoint failed"),
        }
        Ok(())
    }
}
