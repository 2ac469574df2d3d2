//! Keeping track of moves between buffers, on a connection beside the store's own: a process that
//! only offers has no store, and what is written here is small and seldom.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::{Clock, EpochMs};
use model::route::{Phase, Route};
use rusqlite::{Connection, OptionalExtension, Row, params};
use store::Error;
use store::moves::{Heard, Report, Start, Step};
use tokio::sync::Mutex;

use crate::error::classify;
use crate::history::count;
use crate::{Options, connection, migrations};

const STEP: &str = "SELECT step, share_before, share, phase FROM buffer_moves WHERE name = ?1";

const LAST: &str = "SELECT step, share_before, share, phase, name FROM buffer_moves ORDER BY changed_at DESC LIMIT 1";

const BEGIN: &str = "\
    INSERT INTO buffer_moves (name, step, share_before, share, phase, start_settled, start_pending, \
                              start_dead, start_duplicates, start_offered, changed_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (name) DO NOTHING";

const FORGET_OTHERS: [&str; 2] = [
    "DELETE FROM buffer_moves WHERE name <> ?1",
    "DELETE FROM buffer_move_processes WHERE name <> ?1",
];

const ADVANCE: &str = "\
    UPDATE buffer_moves SET step = ?2, share_before = ?3, share = ?4, phase = ?5, changed_at = ?6 \
    WHERE name = ?1 AND step = ?2 - 1";

const START: &str = "\
    SELECT start_settled, start_pending, start_dead, start_duplicates, start_offered \
    FROM buffer_moves WHERE name = ?1";

const REPORT: &str = "\
    INSERT OR REPLACE INTO buffer_move_processes \
        (name, process, step, drained, ended, offered_source, offered_target, done_source, done_target, \
         pending_source, pending_target, dead_source, dead_target, reported_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

const REPORTS: &str = "\
    SELECT process, step, drained, ended, offered_source, offered_target, done_source, done_target, \
           pending_source, pending_target, dead_source, dead_target, reported_at \
    FROM buffer_move_processes WHERE name = ?1 ORDER BY process";

const FORGET: &str = "UPDATE buffer_move_processes SET ended = 1 WHERE name = ?1 AND process = ?2";

/// Moves between buffers, in the store's file.
pub struct Moves {
    db: Arc<Mutex<Connection>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Moves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moves").finish_non_exhaustive()
    }
}

impl Moves {
    /// Opens the database beside whoever settles into it. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no store yet: whoever settles makes it, with its key.
    /// [`Error::Fatal`] when it is not of the schema this program knows.
    pub fn open(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        if !options.path.exists() {
            let path = options.path.display();
            return Err(Error::Unavailable(format!("{path} is not there; a worker makes it")));
        }
        let db = connection::writer(options)?;
        migrations::check(&db)?;
        Ok(Self { db: Arc::new(Mutex::new(db)), clock })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let db = Arc::clone(&self.db).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&db)).await;
        let done = done.map_err(|error| Error::Unavailable(format!("it was not done: {error}")))?;
        done.map_err(|error| classify(&error))
    }
}

/// As the column keeps it.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn step(row: &Row<'_>) -> rusqlite::Result<Step> {
    let phase: String = row.get(3)?;
    let wrong =
        || rusqlite::Error::InvalidColumnType(3, "phase".into(), rusqlite::types::Type::Text);
    let phase = Phase::named(&phase).ok_or_else(wrong)?;
    let route = Route { before: row.get(1)?, share: row.get(2)?, phase };
    Ok(Step { number: count(row, 0)?, route })
}

fn heard(row: &Row<'_>, now_ms: EpochMs) -> rusqlite::Result<Heard> {
    let pair = |at: usize| Ok::<_, rusqlite::Error>([count(row, at)?, count(row, at + 1)?]);
    let report = Report {
        process: row.get(0)?,
        step: count(row, 1)?,
        drained: row.get(2)?,
        ended: row.get(3)?,
        offered: pair(4)?,
        done: pair(6)?,
        pending: pair(8)?,
        dead: pair(10)?,
    };
    let reported_at: EpochMs = row.get(12)?;
    Ok(Heard { report, ago_ms: now_ms.saturating_sub(reported_at).max(0).unsigned_abs() })
}

#[async_trait]
impl store::Moves for Moves {
    async fn step(&self, name: &str) -> Result<Option<Step>, Error> {
        let name = name.to_owned();
        self.with(move |db| db.prepare_cached(STEP)?.query_row([name], step).optional()).await
    }

    async fn last(&self) -> Result<Option<(String, Step)>, Error> {
        self.with(|db| db.query_row(LAST, [], |row| Ok((row.get(4)?, step(row)?))).optional()).await
    }

    async fn advance(&self, name: &str, step: Step, start: Start) -> Result<bool, Error> {
        let (name, now_ms) = (name.to_owned(), self.clock.now_ms());
        self.with(move |db| {
            let Step { number, route: Route { before, share, phase } } = step;
            let changed = if number == 1 {
                let Start { settled, pending, dead, duplicates, offered } = start;
                let transaction = db.unchecked_transaction()?;
                for forget in FORGET_OTHERS {
                    transaction.execute(forget, [&name])?;
                }
                let begun = transaction.execute(
                    BEGIN,
                    params![
                        name,
                        1,
                        before,
                        share,
                        phase.name(),
                        whole(settled),
                        whole(pending),
                        whole(dead),
                        whole(duplicates),
                        whole(offered),
                        now_ms
                    ],
                )?;
                transaction.commit()?;
                begun
            } else {
                let step = params![name, whole(number), before, share, phase.name(), now_ms];
                db.execute(ADVANCE, step)?
            };
            Ok(changed == 1)
        })
        .await
    }

    async fn start(&self, name: &str) -> Result<Option<Start>, Error> {
        let name = name.to_owned();
        self.with(move |db| {
            let start = |row: &Row<'_>| {
                Ok(Start {
                    settled: count(row, 0)?,
                    pending: count(row, 1)?,
                    dead: count(row, 2)?,
                    duplicates: count(row, 3)?,
                    offered: count(row, 4)?,
                })
            };
            db.query_row(START, [name], start).optional()
        })
        .await
    }

    async fn report(&self, name: &str, report: &Report) -> Result<(), Error> {
        let (name, report, now_ms) = (name.to_owned(), report.clone(), self.clock.now_ms());
        self.with(move |db| {
            let Report { process, step, drained, ended, offered, done, pending, dead } = report;
            db.prepare_cached(REPORT)?.execute(params![
                name,
                process,
                whole(step),
                drained,
                ended,
                whole(offered[0]),
                whole(offered[1]),
                whole(done[0]),
                whole(done[1]),
                whole(pending[0]),
                whole(pending[1]),
                whole(dead[0]),
                whole(dead[1]),
                now_ms
            ])?;
            Ok(())
        })
        .await
    }

    async fn reports(&self, name: &str) -> Result<Vec<Heard>, Error> {
        let (name, now_ms) = (name.to_owned(), self.clock.now_ms());
        self.with(move |db| {
            let mut reports = db.prepare_cached(REPORTS)?;
            let heard = reports.query_map([name], |row| heard(row, now_ms))?;
            heard.collect()
        })
        .await
    }

    async fn forget(&self, name: &str, process: &str) -> Result<bool, Error> {
        let (name, process) = (name.to_owned(), process.to_owned());
        self.with(move |db| Ok(db.execute(FORGET, [name, process])? == 1)).await
    }
}
