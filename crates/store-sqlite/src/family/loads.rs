//! What processes had to do, one row for each interval.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;
use rusqlite::{Connection, Row, params};
use store::loads::check;
use store::{Error, Load};

use crate::column::{count, signed};
use crate::database::Database;
use crate::error::classify;
use crate::transaction::Applied;

const INSERT: &str = "\
    INSERT INTO load_history (started_at, span_ms, process, roles, pipeline, buffer, lanes, batch_max, \
    settled, finished, batches, failed, peak_per_s, worked_ms, worked_ms_max, backlog_first, \
    backlog_last, backlog_max, oldest_age_ms_max) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

const FORGET: &str = "DELETE FROM load_history WHERE started_at < ?1";

const SINCE: &str = "\
    SELECT started_at, process, roles, pipeline, buffer, lanes, batch_max, span_ms, settled, finished, \
    batches, failed, peak_per_s, worked_ms, worked_ms_max, backlog_first, backlog_last, backlog_max, \
    oldest_age_ms_max FROM load_history WHERE started_at >= ?1 AND pipeline = ?2 ORDER BY started_at, id";

/// Loads, in the store's file.
pub(crate) struct Loads(pub(crate) Arc<Database>);

#[async_trait]
impl store::Loads for Loads {
    async fn record(&self, load: Load, forget_before_ms: EpochMs) -> Result<(), Error> {
        check(&load)?;
        self.0.write(0, move |db, _| record(db, &load, forget_before_ms)).await
    }
}

/// Adds one, and deletes what began before `forget_before_ms`. Nothing depends on a load: whatever goes
/// wrong undoes this alone, if the transaction is still there.
pub(crate) fn record(
    db: &Connection,
    load: &Load,
    forget_before_ms: EpochMs,
) -> rusqlite::Result<Applied<()>> {
    match write(db, load, forget_before_ms) {
        Err(error) if db.is_autocommit() => Err(error),
        Err(error) => Ok(Applied::Undone(Err(classify(&error)))),
        Ok(()) => Ok(Applied::Kept(())),
    }
}

fn write(db: &Connection, load: &Load, forget_before_ms: EpochMs) -> rusqlite::Result<()> {
    db.prepare_cached(FORGET)?.execute([forget_before_ms])?;
    db.prepare_cached(INSERT)?.execute(params![
        load.started_at_ms,
        signed(load.span_ms)?,
        load.process,
        load.roles,
        load.pipeline,
        load.buffer,
        load.lanes,
        load.batch_max,
        signed(load.settled)?,
        signed(load.finished)?,
        signed(load.batches)?,
        signed(load.failed)?,
        signed(load.peak_per_s)?,
        signed(load.worked_ms)?,
        signed(load.worked_ms_max)?,
        signed(load.backlog_first)?,
        signed(load.backlog_last)?,
        signed(load.backlog_max)?,
        signed(load.oldest_age_ms_max)?,
    ])?;
    Ok(())
}

/// Those of `pipeline` that began at `since_ms` or later, in the order of time.
pub(crate) fn since(
    db: &Connection,
    pipeline: &str,
    since_ms: EpochMs,
) -> rusqlite::Result<Vec<Load>> {
    let mut loads = db.prepare_cached(SINCE)?;
    loads.query_map(params![since_ms, pipeline], one)?.collect()
}

fn one(row: &Row<'_>) -> rusqlite::Result<Load> {
    Ok(Load {
        started_at_ms: row.get(0)?,
        process: row.get(1)?,
        roles: row.get(2)?,
        pipeline: row.get(3)?,
        buffer: row.get(4)?,
        lanes: row.get(5)?,
        batch_max: row.get(6)?,
        span_ms: count(row, 7)?,
        settled: count(row, 8)?,
        finished: count(row, 9)?,
        batches: count(row, 10)?,
        failed: count(row, 11)?,
        peak_per_s: count(row, 12)?,
        worked_ms: count(row, 13)?,
        worked_ms_max: count(row, 14)?,
        backlog_first: count(row, 15)?,
        backlog_last: count(row, 16)?,
        backlog_max: count(row, 17)?,
        oldest_age_ms_max: count(row, 18)?,
    })
}
