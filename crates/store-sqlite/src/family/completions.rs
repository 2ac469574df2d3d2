//! The `pipeline_completion_log` table: what a pipeline finished, and when.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use store::pipelines::check_name;
use store::{Completion, Error};

use crate::column::signed;
use crate::database::Database;
use crate::transaction::Applied;

const INSERT: &str = "\
    INSERT INTO pipeline_completion_log \
    (pipeline_name, started_at, completed_at, settled, duplicates, dead) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Finished work, in the store's file.
pub(crate) struct Completions(pub(crate) Arc<Database>);

#[async_trait]
impl store::Completions for Completions {
    async fn complete(&self, completion: Completion) -> Result<(), Error> {
        check_name(&completion.pipeline)?;
        self.0.write(0, move |db, _| insert(db, &completion).map(Applied::Kept)).await
    }
}

fn insert(db: &Connection, completion: &Completion) -> rusqlite::Result<()> {
    db.prepare_cached(INSERT)?.execute(params![
        &*completion.pipeline,
        completion.started_at_ms,
        completion.completed_at_ms,
        signed(completion.settled)?,
        signed(completion.duplicates)?,
        signed(completion.dead)?,
    ])?;
    Ok(())
}
