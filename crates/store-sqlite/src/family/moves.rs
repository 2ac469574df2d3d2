//! Keeping track of moves between buffers.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;
use model::route::{Phase, Route};
use rusqlite::{Connection, OptionalExtension, Row, params};
use store::Error;
use store::moves::{
    Buffers, Heard, LEFT_MAX, Recorded, Report, Start, Step, check, check_buffers, check_report,
};

use crate::column::count;
use crate::database::Database;
use crate::transaction::Applied;

const RECORDED: &str = "\
    SELECT step, share_before, share, phase, name, source, target FROM buffer_moves WHERE name = ?1";

const ALL: &str = "\
    SELECT step, share_before, share, phase, name, source, target FROM buffer_moves ORDER BY name";

const LEFT: &str = "SELECT buffer FROM buffers_left WHERE name = ?1 ORDER BY step DESC";

/// The buffer that the finished move left which a move begins in place of. What an earlier version recorded
/// names it in no text of its own.
const LEAVE: &str = "\
    INSERT INTO buffers_left (name, step, buffer) \
    SELECT name, ?2, CASE share WHEN 100 THEN source ELSE target END FROM buffer_moves \
    WHERE name = ?1 AND step = ?2 - 1 AND phase = 'open' AND share IN (0, 100) AND target <> ''";

const LEFT_TRIM: &str = "\
    DELETE FROM buffers_left WHERE name = ?1 AND step NOT IN \
        (SELECT step FROM buffers_left WHERE name = ?1 ORDER BY step DESC LIMIT ?2)";

/// In place of a finished move alone.
const BEGIN: &str = "\
    INSERT INTO buffer_moves (name, source, target, step, share_before, share, phase, start_settled, \
                              start_pending, start_dead, start_duplicates, start_offered, changed_at, \
                              start_empty, start_done) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
    ON CONFLICT (name) DO UPDATE SET (source, target, step, share_before, share, phase, start_settled, \
        start_pending, start_dead, start_duplicates, start_offered, changed_at, start_empty, start_done) = \
        (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
    WHERE step = ?4 - 1 AND phase = 'open' AND share IN (0, 100)";

const ADVANCE: &str = "\
    UPDATE buffer_moves SET step = ?2, share_before = ?3, share = ?4, phase = ?5, changed_at = ?6 \
    WHERE name = ?1 AND step = ?2 - 1";

const RENAME: &str = "UPDATE buffer_moves SET source = ?2, target = ?3 WHERE name = ?1";

const START: &str = "\
    SELECT start_settled, start_pending, start_dead, start_duplicates, start_offered, start_empty, start_done \
    FROM buffer_moves WHERE name = ?1";

const REPORT: &str = "\
    INSERT OR REPLACE INTO buffer_move_processes \
        (name, process, step, drained, ended, offered_source, offered_target, done_source, done_target, \
         pending_source, pending_target, dead_source, dead_target, reported_at, source, target, \
         empty_source, empty_target) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

const REPORTS: &str = "\
    SELECT process, step, drained, ended, offered_source, offered_target, done_source, done_target, \
           pending_source, pending_target, dead_source, dead_target, reported_at, source, target, \
           empty_source, empty_target \
    FROM buffer_move_processes WHERE name = ?1 ORDER BY process";

const FORGET: &str = "UPDATE buffer_move_processes SET ended = 1 WHERE name = ?1 AND process = ?2";

const SWEEP: &str = "DELETE FROM buffer_move_processes WHERE name = ?1 AND ended";

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

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let buffers = Buffers { source: row.get(5)?, target: row.get(6)? };
    Ok(Recorded { pipeline: row.get(4)?, buffers, step: step(row)? })
}

fn heard(row: &Row<'_>, now_ms: EpochMs) -> rusqlite::Result<Heard> {
    let pair = |at: usize| Ok::<_, rusqlite::Error>([count(row, at)?, count(row, at + 1)?]);
    let report = Report {
        process: row.get(0)?,
        buffers: Buffers { source: row.get(13)?, target: row.get(14)? },
        step: count(row, 1)?,
        drained: row.get(2)?,
        ended: row.get(3)?,
        offered: pair(4)?,
        done: pair(6)?,
        pending: pair(8)?,
        dead: pair(10)?,
        empty: pair(15)?,
    };
    let reported_at: EpochMs = row.get(12)?;
    Ok(Heard { report, ago_ms: now_ms.saturating_sub(reported_at).max(0).unsigned_abs() })
}

#[async_trait]
impl store::Moves for Moves {
    async fn recorded(&self, pipeline: &str) -> Result<Option<Recorded>, Error> {
        let pipeline = pipeline.to_owned();
        let read = self.0.read(move |db| {
            db.prepare_cached(RECORDED)?.query_row([pipeline], recorded).optional()
        });
        read.await
    }

    async fn all(&self) -> Result<Vec<Recorded>, Error> {
        self.0.read(|db| db.prepare_cached(ALL)?.query_map([], recorded)?.collect()).await
    }

    async fn left(&self, pipeline: &str) -> Result<Vec<String>, Error> {
        let pipeline = pipeline.to_owned();
        let read = self
            .0
            .read(move |db| db.prepare(LEFT)?.query_map([pipeline], |row| row.get(0))?.collect());
        read.await
    }

    async fn begin(&self, first: &Recorded, start: Start) -> Result<bool, Error> {
        check(first)?;
        let first = first.clone();
        let written = self.0.write(0, move |db, now_ms| {
            let Recorded { pipeline, buffers, step } = &first;
            let Step { number, route: Route { before, share, phase } } = *step;
            let Start { settled, pending, dead, duplicates, offered, empty, done } = start;
            db.execute(LEAVE, params![pipeline, whole(number)])?;
            let begun = db.execute(
                BEGIN,
                params![
                    pipeline,
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
                    whole(empty),
                    whole(done)
                ],
            )?;
            db.execute(LEFT_TRIM, params![pipeline, whole(LEFT_MAX as u64)])?;
            Ok(Applied::Kept(begun == 1))
        });
        written.await
    }

    async fn advance(&self, pipeline: &str, step: Step) -> Result<bool, Error> {
        let pipeline = pipeline.to_owned();
        let written = self.0.write(0, move |db, now_ms| {
            let Step { number, route: Route { before, share, phase } } = step;
            let step = params![pipeline, whole(number), before, share, phase.name(), now_ms];
            Ok(Applied::Kept(db.execute(ADVANCE, step)? == 1))
        });
        written.await
    }

    async fn rename(&self, pipeline: &str, buffers: &Buffers) -> Result<bool, Error> {
        check_buffers(buffers)?;
        let (pipeline, buffers) = (pipeline.to_owned(), buffers.clone());
        let written = self.0.write(0, move |db, _| {
            let renamed = db.execute(RENAME, params![pipeline, buffers.source, buffers.target])?;
            Ok(Applied::Kept(renamed == 1))
        });
        written.await
    }

    async fn start(&self, pipeline: &str) -> Result<Option<Start>, Error> {
        let pipeline = pipeline.to_owned();
        let read = self.0.read(move |db| {
            let start = |row: &Row<'_>| {
                Ok(Start {
                    settled: count(row, 0)?,
                    pending: count(row, 1)?,
                    dead: count(row, 2)?,
                    duplicates: count(row, 3)?,
                    offered: count(row, 4)?,
                    empty: count(row, 5)?,
                    done: count(row, 6)?,
                })
            };
            db.query_row(START, [pipeline], start).optional()
        });
        read.await
    }

    async fn report(&self, pipeline: &str, report: &Report) -> Result<(), Error> {
        check_report(pipeline, report)?;
        let (pipeline, report) = (pipeline.to_owned(), report.clone());
        let written = self.0.write(0, move |db, now_ms| {
            let Report { process, buffers, step, drained, ended, .. } = &report;
            let Report { offered, done, pending, dead, empty, .. } = report;
            db.prepare_cached(REPORT)?.execute(params![
                pipeline,
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

    async fn reports(&self, pipeline: &str) -> Result<Vec<Heard>, Error> {
        let (pipeline, now_ms) = (pipeline.to_owned(), self.0.now_ms());
        let read = self.0.read(move |db| {
            let mut reports = db.prepare_cached(REPORTS)?;
            let heard = reports.query_map([pipeline], |row| heard(row, now_ms))?;
            heard.collect()
        });
        read.await
    }

    async fn forget(&self, pipeline: &str, process: &str) -> Result<bool, Error> {
        let row = [pipeline.to_owned(), process.to_owned()];
        let forgotten = move |db: &Connection, _| {
            Ok(Applied::Kept(db.execute(FORGET, params![row[0], row[1]])? > 0))
        };
        self.0.write(0, forgotten).await
    }

    async fn sweep(&self, pipeline: &str) -> Result<(), Error> {
        let pipeline = pipeline.to_owned();
        let swept =
            move |db: &Connection, _| db.execute(SWEEP, [&pipeline]).map(|_| Applied::Kept(()));
        self.0.write(0, swept).await
    }
}
