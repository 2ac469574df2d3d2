//! What processes had to do, one row for each interval.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;
use store::loads::check;
use store::{Error, Load};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::column::{count, time};
use crate::database::Database;
use crate::schema::Schema;
use crate::time::Timestamp;

/// Loads, in the store's schema.
pub(crate) struct Loads {
    database: Arc<Database>,
    record: String,
}

impl Loads {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        let schema = database.schema();
        // Deletes and adds in one statement, and so in one transaction.
        let record = format!(
            "WITH forgotten AS (DELETE FROM {schema}.load_history WHERE started_at < $1) \
             INSERT INTO {schema}.load_history (started_at, process, roles, pipeline, buffer, lanes, \
                 batch_max, span_ms, settled, finished, batches, failed, peak_per_s, worked_ms, \
                 worked_ms_max, backlog_first, backlog_last, backlog_max, oldest_age_ms_max) \
             VALUES ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
        );
        Self { database: Arc::clone(database), record }
    }
}

#[async_trait]
impl store::Loads for Loads {
    async fn record(&self, load: Load, forget_before_ms: EpochMs) -> Result<(), Error> {
        check(&load)?;
        let rejected = |problem: String| Error::Rejected(format!("load: {problem}"));
        let texts = [&load.process, &load.roles, &load.pipeline, &load.buffer];
        let times = [
            time("forget_before", forget_before_ms).map_err(rejected)?,
            time("started_at", load.started_at_ms).map_err(rejected)?,
        ];
        let counts = [
            ("lanes", load.lanes.into()),
            ("batch_max", load.batch_max.into()),
            ("span_ms", load.span_ms),
            ("settled", load.settled),
            ("finished", load.finished),
            ("batches", load.batches),
            ("failed", load.failed),
            ("peak_per_s", load.peak_per_s),
            ("worked_ms", load.worked_ms),
            ("worked_ms_max", load.worked_ms_max),
            ("backlog_first", load.backlog_first),
            ("backlog_last", load.backlog_last),
            ("backlog_max", load.backlog_max),
            ("oldest_age_ms_max", load.oldest_age_ms_max),
        ];
        let counts = counts.into_iter().map(|(column, value)| count(column, value));
        let counts = counts.collect::<Result<Vec<i64>, _>>().map_err(rejected)?;
        let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(20);
        values.extend(times.iter().map(|time| time as &(dyn ToSql + Sync)));
        values.extend(texts.iter().map(|text| *text as &(dyn ToSql + Sync)));
        values.extend(counts.iter().map(|count| count as &(dyn ToSql + Sync)));
        self.database.execute(&self.record, &values).await.map(drop)
    }
}

/// Those of pipeline $1 that began at $2 or later, in the order of time.
pub(crate) fn since(schema: &Schema) -> String {
    format!(
        "SELECT started_at, process, roles, pipeline, buffer, lanes, batch_max, span_ms, settled, \
             finished, batches, failed, peak_per_s, worked_ms, worked_ms_max, backlog_first, \
             backlog_last, backlog_max, oldest_age_ms_max \
         FROM {schema}.load_history WHERE pipeline = $1 AND started_at >= $2 ORDER BY started_at, id"
    )
}

/// One row of [`since`].
pub(crate) fn one(row: &Row) -> Result<Load, tokio_postgres::Error> {
    let count = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let small = |column| Ok(u32::try_from(count(column)?).unwrap_or(u32::MAX));
    Ok(Load {
        started_at_ms: row.try_get::<_, Timestamp>(0)?.ms(),
        process: row.try_get(1)?,
        roles: row.try_get(2)?,
        pipeline: row.try_get(3)?,
        buffer: row.try_get(4)?,
        lanes: small(5)?,
        batch_max: small(6)?,
        span_ms: count(7)?,
        settled: count(8)?,
        finished: count(9)?,
        batches: count(10)?,
        failed: count(11)?,
        peak_per_s: count(12)?,
        worked_ms: count(13)?,
        worked_ms_max: count(14)?,
        backlog_first: count(15)?,
        backlog_last: count(16)?,
        backlog_max: count(17)?,
        oldest_age_ms_max: count(18)?,
    })
}
