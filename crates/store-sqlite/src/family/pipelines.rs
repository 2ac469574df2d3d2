//! What is wanted of each pipeline.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Row, ToSql, params};
use store::Error;
use store::pipelines::{Wanted, check};

use crate::column::count;
use crate::database::Database;
use crate::transaction::Applied;

const COLUMNS: &str = "name, paused, since_at, reason, lanes, revision";

const PAUSE: &str = "\
    INSERT INTO pipelines (name, paused, since_at, reason) VALUES (?1, 1, ?2, ?3) \
    ON CONFLICT (name) DO UPDATE SET \
        since_at = iif(paused, since_at, excluded.since_at), paused = 1, reason = excluded.reason, \
        revision = revision + 1";

const RESUME: &str = "\
    INSERT INTO pipelines (name, paused, since_at, reason) VALUES (?1, 0, ?2, ?3) \
    ON CONFLICT (name) DO UPDATE SET \
        since_at = iif(paused, excluded.since_at, since_at), paused = 0, reason = excluded.reason, \
        revision = revision + 1";

const SCALE: &str = "\
    INSERT INTO pipelines (name, paused, since_at, lanes) VALUES (?1, 0, ?2, ?3) \
    ON CONFLICT (name) DO UPDATE SET lanes = excluded.lanes, revision = revision + 1";

/// What is wanted of each pipeline, in the store's file.
pub(crate) struct Pipelines(pub(crate) Arc<Database>);

impl Pipelines {
    /// Changes one row. `sql` has the name, the time and `part` as its values.
    async fn change<P: ToSql + Send + 'static>(
        &self,
        sql: &'static str,
        name: &str,
        part: P,
    ) -> Result<Wanted, Error> {
        let name = name.to_owned();
        let change = move |db: &Connection, now_ms| {
            let sql = format!("{sql} RETURNING {COLUMNS}");
            let row = db.prepare_cached(&sql)?.query_row(params![name, now_ms, part], wanted)?;
            Ok(Applied::Kept(row))
        };
        self.0.write(0, change).await
    }
}

fn wanted(row: &Row<'_>) -> rusqlite::Result<Wanted> {
    Ok(Wanted {
        name: row.get(0)?,
        paused: row.get(1)?,
        since_ms: row.get(2)?,
        reason: row.get(3)?,
        lanes: row.get(4)?,
        revision: count(row, 5)?,
    })
}

#[async_trait]
impl store::Pipelines for Pipelines {
    async fn wanted(&self) -> Result<Vec<Wanted>, Error> {
        let all = |db: &mut Connection| {
            let sql = format!("SELECT {COLUMNS} FROM pipelines ORDER BY name");
            db.prepare_cached(&sql)?.query_map([], wanted)?.collect()
        };
        self.0.read(all).await
    }

    async fn pause(&self, name: &str, reason: &str) -> Result<Wanted, Error> {
        check(name, reason, None)?;
        self.change(PAUSE, name, reason.to_owned()).await
    }

    async fn resume(&self, name: &str) -> Result<Wanted, Error> {
        check(name, "", None)?;
        self.change(RESUME, name, String::new()).await
    }

    async fn scale(&self, name: &str, lanes: Option<u32>) -> Result<Wanted, Error> {
        check(name, "", lanes)?;
        self.change(SCALE, name, lanes).await
    }
}
