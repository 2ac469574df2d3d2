//! Keeping track of moves between buffers.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;
use model::route::{Phase, Route};
use rusqlite::{Connection, OptionalExtension, Row, params};
use store::Error;
use store::moves::{Buffers, Heard, Recorded, Report, Start, Step};

use crate::column::count;
use crate::database::Database;
use crate::transaction::Applied;

const RECORDED: &str = "\
    SELECT step, share_before, share, phase, name, source, target FROM buffer_moves \
    ORDER BY changed_at DESC LIMIT 1";

/// In place of a finished move alone.
const BEGIN: &str = "\
    INSERT INTO buffer_moves (name, source, target, step, share_before, share, phase, start_settled, \
                              start_pending, start_dead, start_duplicates, start_offered, changed_at, \
                              start_empty) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
    ON CONFLICT (name) DO UPDATE SET (source, target, step, share_before, share, phase, start_settled, \
        start_pending, start_dead, start_duplicates, start_offered, changed_at, start_empty) = \
        (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
    WHERE step = ?4 - 1 AND phase = 'open' AND share IN (0, 100)";

const FORGET_OTHERS: &str = "DELETE FROM buffer_moves WHERE name <> ?1";

const ADVANCE: &str = "\
    UPDATE buffer_moves SET step = ?2, share_before = ?3, share = ?4, phase = ?5, changed_at = ?6 \
    WHERE name = ?1 AND step = ?2 - 1";

const RENAME: &str = "UPDATE buffer_moves SET source = ?2, target = ?3 WHERE name = ?1";

const START: &str = "\
    SELECT start_settled, start_pending, start_dead, start_duplicates, start_offered, start_empty \
    FROM buffer_moves WHERE name = ?1";

const REPORT: &str = "\
    INSERT OR REPLACE INTO buffer_move_processes \
        (name, process, step, drained, ended, offered_source, offered_target, done_source, done_target, \
         pending_source, pending_target, dead_source, dead_target, reported_at, source, target, \
         empty_source, empty_target) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

const REPORTS: &str = "\
    SELECT process, step, drained, ended, offered_source, offered_target, done_source, done_target, \
           pending_source, pending_target, dead_source, dead_target, reported_at, name, source, target, \
           empty_source, empty_target \
    FROM buffer_move_processes ORDER BY process";

const FORGET: &str = "UPDATE buffer_move_processes SET ended = 1 WHERE process = ?1";

const SWEEP: &str = "DELETE FROM buffer_move_processes WHERE ended";

/// Moves between buffers, in the store's file.
pub(crate) struct Moves(pub(crate) Arc<Database>);

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
        buffers: Buffers { source: row.get(14)?, target: row.get(15)? },
        step: count(row, 1)?,
        drained: row.get(2)?,
        ended: row.get(3)?,
        offered: pair(4)?,
        done: pair(6)?,
        pending: pair(8)?,
        dead: pair(10)?,
        empty: pair(16)?,
    };
    let reported_at: EpochMs = row.get(12)?;
    let name = row.get(13)?;
    Ok(Heard { name, report, ago_ms: now_ms.saturating_sub(reported_at).max(0).unsigned_abs() })
}

#[async_trait]
impl store::Moves for Moves {
    async fn recorded(&self) -> Result<Option<Recorded>, Error> {
        let read = self.0.read(|db| {
            let recorded = |row: &Row<'_>| {
                let buffers = Buffers { source: row.get(5)?, target: row.get(6)? };
                Ok(Recorded { name: row.get(4)?, buffers, step: step(row)? })
            };
            db.prepare_cached(RECORDED)?.query_row([], recorded).optional()
        });
        read.await
    }

    async fn begin(&self, first: &Recorded, start: Start) -> Result<bool, Error> {
        let first = first.clone();
        let written = self.0.write(0, move |db, now_ms| {
            let Recorded { name, buffers, step } = &first;
            let Step { number, route: Route { before, share, phase } } = *step;
            let Start { settled, pending, dead, duplicates, offered, empty } = start;
            db.execute(FORGET_OTHERS, [name])?;
            let begun = db.execute(
                BEGIN,
                params![
                    name,
                    buffers.source,
                    buffers.target,
                    whole(number),
                    before,
                    share,
                    phase.name(),
                    whole(settled),
                    whole(pending),
                    whole(dead),
                    whole(duplicates),
                    whole(offered),
                    now_ms,
                    whole(empty)
                ],
            )?;
            Ok(Applied::Kept(begun == 1))
        });
        written.await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<bool, Error> {
        let name = name.to_owned();
        let written = self.0.write(0, move |db, now_ms| {
            let Step { number, route: Route { before, share, phase } } = step;
            let step = params![name, whole(number), before, share, phase.name(), now_ms];
            Ok(Applied::Kept(db.execute(ADVANCE, step)? == 1))
        });
        written.await
    }

    async fn rename(&self, name: &str, buffers: &Buffers) -> Result<bool, Error> {
        let (name, buffers) = (name.to_owned(), buffers.clone());
        let written = self.0.write(0, move |db, _| {
            let renamed = db.execute(RENAME, params![name, buffers.source, buffers.target])?;
            Ok(Applied::Kept(renamed == 1))
        });
        written.await
    }

    async fn start(&self, name: &str) -> Result<Option<Start>, Error> {
        let name = name.to_owned();
        let read = self.0.read(move |db| {
            let start = |row: &Row<'_>| {
                Ok(Start {
                    settled: count(row, 0)?,
                    pending: count(row, 1)?,
                    dead: count(row, 2)?,
                    duplicates: count(row, 3)?,
                    offered: count(row, 4)?,
                    empty: count(row, 5)?,
                })
            };
            db.query_row(START, [name], start).optional()
        });
        read.await
    }

    async fn report(&self, name: &str, report: &Report) -> Result<(), Error> {
        let (name, report) = (name.to_owned(), report.clone());
        let written = self.0.write(0, move |db, now_ms| {
            let Report { process, buffers, step, drained, ended, .. } = &report;
            let Report { offered, done, pending, dead, empty, .. } = report;
            db.prepare_cached(REPORT)?.execute(params![
                name,
                process,
                whole(*step),
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
                now_ms,
                buffers.source,
                buffers.target,
                whole(empty[0]),
                whole(empty[1])
            ])?;
            Ok(Applied::Kept(()))
        });
        written.await
    }

    async fn reports(&self) -> Result<Vec<Heard>, Error> {
        let now_ms = self.0.now_ms();
        let read = self.0.read(move |db| {
            let mut reports = db.prepare_cached(REPORTS)?;
            let heard = reports.query_map([], |row| heard(row, now_ms))?;
            heard.collect()
        });
        read.await
    }

    async fn forget(&self, process: &str) -> Result<bool, Error> {
        let process = process.to_owned();
        let forgotten =
            move |db: &Connection, _| Ok(Applied::Kept(db.execute(FORGET, [&process])? > 0));
        self.0.write(0, forgotten).await
    }

    async fn sweep(&self) -> Result<(), Error> {
        self.0.write(0, |db, _| db.execute(SWEEP, []).map(|_| Applied::Kept(()))).await
    }
}
