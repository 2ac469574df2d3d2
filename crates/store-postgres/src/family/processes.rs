//! The processes that run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use store::Error;
use store::processes::{Heard, KEEP_MAX, LIVE_MAX, Process, check, read, written};
use tokio_postgres::Row;

use crate::database::Database;
use crate::schema::Schema;

/// The processes that run, in the store's schema.
pub(crate) struct Processes {
    database: Arc<Database>,
    statements: Statements,
}

struct Statements {
    heartbeat: String,
    leave: String,
    heard: String,
}

impl Statements {
    fn new(schema: &Schema) -> Self {
        let table = format!("{schema}.processes");
        // A time ahead of the clock is as old as it is ahead: the clock was set back.
        let ago = |at: &str| format!("greatest(now() - {at}, {at} - now())");
        let (live, keep) = (LIVE_MAX.as_secs(), KEEP_MAX.as_secs());
        let row = "host, pid, version, roles, pipelines";
        Self {
            heartbeat: format!(
                "WITH gone AS (DELETE FROM {table} WHERE process <> $1 AND {} > interval '{keep} s') \
                 INSERT INTO {table} AS kept (process, {row}) VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (process) DO UPDATE SET ({row}, heard_at) = ($2, $3, $4, $5, $6, now()), \
                 joined_at = CASE WHEN {} > interval '{live} s' THEN now() ELSE kept.joined_at END",
                ago("heard_at"),
                ago("kept.heard_at")
            ),
            leave: format!("DELETE FROM {table} WHERE process = $1 RETURNING process"),
            heard: format!(
                "SELECT process, {row}, (extract(epoch FROM {}) * 1000)::bigint, \
                        (extract(epoch FROM {}) * 1000)::bigint \
                 FROM {table} ORDER BY process",
                ago("heard_at"),
                ago("joined_at")
            ),
        }
    }
}

impl Processes {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database), statements: Statements::new(database.schema()) }
    }
}

fn heard(row: &Row) -> Heard {
    let ago = |at: usize| Duration::from_millis(row.get::<_, i64>(at).max(0).unsigned_abs());
    let process = Process {
        id: row.get(0),
        host: row.get(1),
        pid: u32::try_from(row.get::<_, i64>(2)).unwrap_or_default(),
        version: row.get(3),
        roles: row.get(4),
        pipelines: read(row.get(5)),
    };
    Heard { process, ago: ago(6), joined_ago: ago(7) }
}

#[async_trait]
impl store::Processes for Processes {
    async fn heartbeat(&self, process: &Process) -> Result<(), Error> {
        check(process)?;
        let Process { id, host, pid, version, roles, pipelines } = process;
        let (pid, pipelines) = (i64::from(*pid), written(pipelines));
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [id, host, &pid, version, roles, &pipelines];
        self.database.query_if_granted(&self.statements.heartbeat, &row).await.map(drop)
    }

    async fn leave(&self, id: &str) -> Result<bool, Error> {
        let left = self.database.query_if_granted(&self.statements.leave, &[&id]).await?;
        Ok(!left.is_empty())
    }

    async fn heard(&self) -> Result<Vec<Heard>, Error> {
        Ok(self
            .database
            .query_if_granted(&self.statements.heard, &[])
            .await?
            .iter()
            .map(heard)
            .collect())
    }
}
