//! Writing what a pipeline finished.

use model::clock::EpochMs;
use store::{Completion, Error};

use crate::encode::sound;
use crate::error::Stage;
use crate::schema::Schema;
use crate::session::Pool;
use crate::time::Timestamp;

/// The longest name of a pipeline, in bytes.
const PIPELINE_BYTES_MAX: usize = 1024;

/// The statement, for one schema.
pub(crate) fn statement(schema: &Schema) -> String {
    format!(
        "INSERT INTO {schema}.pipeline_completion_log \
         (pipeline_name, started_at, completed_at, settled, duplicates, dead) \
         VALUES ($1, $2, $3, $4, $5, $6)"
    )
}

pub(crate) async fn complete(
    pool: &Pool,
    statement: &str,
    completion: &Completion,
) -> Result<(), Error> {
    let rejected = |problem: String| Error::Rejected(format!("completion: {problem}"));
    let pipeline = &*completion.pipeline;
    sound("pipeline_name", pipeline, PIPELINE_BYTES_MAX).map_err(rejected)?;
    let started_at = time("started_at", completion.started_at_ms).map_err(rejected)?;
    let completed_at = time("completed_at", completion.completed_at_ms).map_err(rejected)?;
    let settled = count("settled", completion.settled).map_err(rejected)?;
    let duplicates = count("duplicates", completion.duplicates).map_err(rejected)?;
    let dead = count("dead", completion.dead).map_err(rejected)?;
    let session = pool.session(Stage::Write).await?;
    let written = session.bounded(async {
        let insert = session.client().prepare_cached(statement).await?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&pipeline, &started_at, &completed_at, &settled, &duplicates, &dead];
        session.client().execute(&insert, &values).await
    });
    written.await?;
    session.keep();
    Ok(())
}

pub(crate) fn time(column: &str, ms: EpochMs) -> Result<Timestamp, String> {
    Timestamp::new(ms)
        .ok_or_else(|| format!("{column}: lies outside the years 1 to 9999; give milliseconds"))
}

pub(crate) fn count(column: &str, count: u64) -> Result<i64, String> {
    i64::try_from(count).map_err(|_| format!("{column}: is past {}, the column's end", i64::MAX))
}
