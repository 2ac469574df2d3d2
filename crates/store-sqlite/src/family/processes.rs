//! The processes that run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::clock::EpochMs;
use rusqlite::{Connection, Row, params};
use store::Error;
use store::processes::{Heard, KEEP_MAX, LIVE_MAX, Process, check, read, written};

use crate::database::Database;
use crate::transaction::Applied;

/// A time ahead of the clock is as old as it is ahead: the clock was set back.
const FORGET: &str = "DELETE FROM processes WHERE abs(?1 - heard_at) > ?2";

const HEARTBEAT: &str = "\
    INSERT INTO processes (process, host, pid, version, roles, pipelines, joined_at, heard_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) \
    ON CONFLICT (process) DO UPDATE SET \
        joined_at = iif(abs(excluded.heard_at - heard_at) > ?8, excluded.heard_at, joined_at), \
        (host, pid, version, roles, pipelines, heard_at) = (?2, ?3, ?4, ?5, ?6, ?7)";

const LEAVE: &str = "DELETE FROM processes WHERE process = ?1";

const HEARD: &str = "\
    SELECT process, host, pid, version, roles, pipelines, heard_at, joined_at FROM processes \
    ORDER BY process";

/// The processes that run, in the store's file.
pub(crate) struct Processes(pub(crate) Arc<Database>);

fn heard(row: &Row<'_>, now_ms: EpochMs) -> rusqlite::Result<Heard> {
    let ago = |at: usize| {
        Ok::<_, rusqlite::Error>(Duration::from_millis(now_ms.abs_diff(row.get::<_, EpochMs>(at)?)))
    };
    let process = Process {
        id: row.get(0)?,
        host: row.get(1)?,
        pid: row.get(2)?,
        version: row.get(3)?,
        roles: row.get(4)?,
        pipelines: read(&row.get::<_, String>(5)?),
    };
    Ok(Heard { process, ago: ago(6)?, joined_ago: ago(7)? })
}

/// As a column keeps it.
fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl store::Processes for Processes {
    async fn heartbeat(&self, process: &Process) -> Result<(), Error> {
        check(process)?;
        let (process, pipelines) = (process.clone(), written(&process.pipelines));
        let write = move |db: &Connection, now_ms: EpochMs| {
            let Process { id, host, pid, version, roles, .. } = &process;
            db.prepare_cached(FORGET)?.execute(params![now_ms, ms(KEEP_MAX)])?;
            let row = params![id, host, pid, version, roles, pipelines, now_ms, ms(LIVE_MAX)];
            db.prepare_cached(HEARTBEAT)?.execute(row)?;
            Ok(Applied::Kept(()))
        };
        self.0.write(0, write).await
    }

    async fn leave(&self, id: &str) -> Result<bool, Error> {
        let id = id.to_owned();
        self.0.write(0, move |db, _| Ok(Applied::Kept(db.execute(LEAVE, [&id])? > 0))).await
    }

    async fn heard(&self) -> Result<Vec<Heard>, Error> {
        let now_ms = self.0.now_ms();
        let all = move |db: &mut Connection| {
            db.prepare_cached(HEARD)?.query_map([], |row| heard(row, now_ms))?.collect()
        };
        self.0.read(all).await
    }
}
