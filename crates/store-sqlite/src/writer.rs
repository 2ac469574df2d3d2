//! The thread that owns the writing connection.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use model::clock::Clock;
use rusqlite::{Connection, ErrorCode};
use store::Error;
use tokio::sync::{mpsc, oneshot};

use crate::error::{classify, classify_write};
use crate::transaction::{self, Answer, Applied, Effect};
use crate::wal::Checkpointer;
use crate::{Options, connection};

/// Callers served by one commit.
const GROUP_CALLERS_MAX: usize = 8;
/// Rows after which no further caller is taken into the group.
const GROUP_ROWS_MAX: usize = 20_000;

/// What comes through the queue.
pub(crate) enum Work {
    Write {
        effect: Effect,
        reply: oneshot::Sender<Answer>,
    },
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
    /// Keeps other processes from settling into the same store. Let go last.
    pub(crate) _lock: File,
}

impl Writer {
    /// Serves the queue until it is closed and empty, then empties the log.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let mut effects = Vec::with_capacity(GROUP_CALLERS_MAX);
        let mut replies = Vec::with_capacity(GROUP_CALLERS_MAX);
        while let Some(first) = self.queue.blocking_recv() {
            let mut next = Some(first);
            let mut rows = 0;
            while let Some(work) = next {
                match work {
                    Work::Write { effect, reply } => {
                        rows += rows_of(&effect);
                        effects.push(effect);
                        replies.push(reply);
                    }
                    Work::Close => self.queue.close(),
                }
                let full = effects.len() >= GROUP_CALLERS_MAX || rows >= GROUP_ROWS_MAX;
                next = if full { None } else { self.queue.try_recv().ok() };
            }
            if !effects.is_empty() {
                let answers = self.answers(&effects);
                // A caller that has stopped waiting learns the outcome when it tries again.
                replies.drain(..).zip(answers).for_each(|(reply, answer)| drop(reply.send(answer)));
                effects.clear();
            }
        }
        let db = self.db.take().map_or_else(|| connection::writer(&self.options), Ok)?;
        self.checkpointer.finish(&db).map_err(|error| classify(&error))
    }

    /// Commits, and says to each caller what became of its effect.
    fn answers(&mut self, effects: &[Effect]) -> Vec<Answer> {
        match self.commit(effects) {
            Ok(answers) => answers,
            // One caller's row undid the transaction of all (RAISE(ROLLBACK), a constraint that is
            // checked at COMMIT): each has one of its own, so that no other is blamed.
            Err(Error::Refused(_) | Error::Rejected(_)) if effects.len() > 1 => {
                effects.chunks(1).flat_map(|alone| self.answers(alone)).collect()
            }
            Err(error) => {
                if !matches!(error, Error::Refused(_)) {
                    tracing::warn!(%error, "a transaction failed");
                }
                vec![Err(error); effects.len()]
            }
        }
    }

    fn commit(&mut self, effects: &[Effect]) -> Result<Vec<Answer>, Error> {
        let db = match self.db.take() {
            Some(db) => db,
            None => connection::writer(&self.options)?,
        };
        let began = Instant::now();
        // On an error the connection is dropped here: what it holds in memory is not to be trusted.
        let answers = transaction::commit(&db, effects, self.clock.now_ms()).map_err(|error| {
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                self.checkpointer.give_back(&db);
            }
            classify_write(&error)
        })?;
        metrics::histogram!("store_commit_seconds").record(began.elapsed());
        metrics::counter!("store_rows_total").increment(settled(effects, &answers));
        // The rows are durable: a log that can't be copied now is no reason to say otherwise.
        match self.checkpointer.committed(&db) {
            Ok(()) => self.db = Some(db),
            Err(error) => tracing::warn!(%error, "a checkpoint failed"),
        }
        Ok(answers)
    }
}

fn rows_of(effect: &Effect) -> usize {
    match effect {
        Effect::Payments(rows) => rows.len(),
        Effect::Rows { rows, .. } => rows.len(),
        Effect::Completion(_)
        | Effect::Load { .. }
        | Effect::Key(_)
        | Effect::Ruleset(_)
        | Effect::Definition(_) => 1,
    }
}

fn settled(effects: &[Effect], answers: &[Answer]) -> u64 {
    let kept = effects.iter().zip(answers).filter_map(|(effect, answer)| match (effect, answer) {
        (Effect::Payments(rows), Ok(Applied::Settled)) => u64::try_from(rows.len()).ok(),
        (Effect::Rows { rows, .. }, Ok(_)) => u64::try_from(rows.len()).ok(),
        _ => None,
    });
    kept.sum()
}
