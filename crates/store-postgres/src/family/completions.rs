//! Writing what a pipeline finished.

use std::sync::Arc;

use async_trait::async_trait;
use store::pipelines::check_name;
use store::{Completion, Error};

use crate::column::{count, time};
use crate::database::Database;

/// Finished work, in the store's schema.
pub(crate) struct Completions {
    database: Arc<Database>,
    insert: String,
}

impl Completions {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        let insert = format!(
            "INSERT INTO {}.pipeline_completion_log \
             (pipeline_name, started_at, completed_at, settled, duplicates, dead) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            database.schema()
        );
        Self { database: Arc::clone(database), insert }
    }
}

#[async_trait]
impl store::Completions for Completions {
    async fn complete(&self, completion: Completion) -> Result<(), Error> {
        let rejected = |problem: String| Error::Rejected(format!("completion: {problem}"));
        let pipeline = &*completion.pipeline;
        check_name(pipeline)?;
        let started_at = time("started_at", completion.started_at_ms).map_err(rejected)?;
        let completed_at = time("completed_at", completion.completed_at_ms).map_err(rejected)?;
        let settled = count("settled", completion.settled).map_err(rejected)?;
        let duplicates = count("duplicates", completion.duplicates).map_err(rejected)?;
        let dead = count("dead", completion.dead).map_err(rejected)?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&pipeline, &started_at, &completed_at, &settled, &duplicates, &dead];
        self.database.execute(&self.insert, &values).await.map(drop)
    }
}
