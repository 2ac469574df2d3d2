//! What is wanted of each pipeline.

use std::sync::Arc;

use async_trait::async_trait;
use store::Error;
use store::pipelines::{Wanted, check};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::database::Database;
use crate::schema::Schema;
use crate::time::Timestamp;

const COLUMNS: &str = "name, paused, since_at, reason, lanes, revision";

/// What is wanted of each pipeline, in the store's schema.
pub(crate) struct Pipelines {
    database: Arc<Database>,
    statements: Statements,
}

struct Statements {
    wanted: String,
    pause: String,
    resume: String,
    scale: String,
}

impl Statements {
    fn new(schema: &Schema) -> Self {
        let table = format!("{schema}.pipelines");
        let returning = "revision = kept.revision + 1 \
                         RETURNING kept.name, kept.paused, kept.since_at, kept.reason, kept.lanes, kept.revision";
        Self {
            wanted: format!("SELECT {COLUMNS} FROM {table} ORDER BY name"),
            pause: format!(
                "INSERT INTO {table} AS kept (name, paused, reason) VALUES ($1, true, $2) \
                 ON CONFLICT (name) DO UPDATE SET paused = true, reason = $2, \
                 since_at = CASE WHEN kept.paused THEN kept.since_at ELSE now() END, {returning}"
            ),
            resume: format!(
                "INSERT INTO {table} AS kept (name) VALUES ($1) \
                 ON CONFLICT (name) DO UPDATE SET paused = false, reason = '', \
                 since_at = CASE WHEN kept.paused THEN now() ELSE kept.since_at END, {returning}"
            ),
            scale: format!(
                "INSERT INTO {table} AS kept (name, lanes) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET lanes = $2, {returning}"
            ),
        }
    }
}

impl Pipelines {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database), statements: Statements::new(database.schema()) }
    }

    async fn change(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Wanted, Error> {
        let rows = self.database.query_if_granted(sql, values).await?;
        rows.first().map_or_else(|| Err(Error::Fatal("no row was returned".into())), wanted)
    }
}

fn wanted(row: &Row) -> Result<Wanted, Error> {
    let lanes: Option<i64> = row.get(4);
    let since: Timestamp =
        row.try_get(2).map_err(|error| Error::Fatal(format!("since_at: {error}")))?;
    Ok(Wanted {
        name: row.get(0),
        paused: row.get(1),
        since_ms: since.ms(),
        reason: row.get(3),
        lanes: lanes.map(|lanes| u32::try_from(lanes).unwrap_or(u32::MAX)),
        revision: row.get::<_, i64>(5).max(0).unsigned_abs(),
    })
}

#[async_trait]
impl store::Pipelines for Pipelines {
    async fn wanted(&self) -> Result<Vec<Wanted>, Error> {
        self.database
            .query_if_granted(&self.statements.wanted, &[])
            .await?
            .iter()
            .map(wanted)
            .collect()
    }

    async fn pause(&self, name: &str, reason: &str) -> Result<Wanted, Error> {
        check(name, reason, None)?;
        self.change(&self.statements.pause, &[&name, &reason]).await
    }

    async fn resume(&self, name: &str) -> Result<Wanted, Error> {
        check(name, "", None)?;
        self.change(&self.statements.resume, &[&name]).await
    }

    async fn scale(&self, name: &str, lanes: Option<u32>) -> Result<Wanted, Error> {
        check(name, "", lanes)?;
        let lanes = lanes.map(i64::from);
        self.change(&self.statements.scale, &[&name, &lanes]).await
    }
}
