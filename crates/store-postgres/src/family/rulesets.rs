//! The thresholds of each version of the fraud rules.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::EpochMs;
use store::Error;
use store::rulesets::Ruleset;
use tokio_postgres::Row;

use crate::column::{sound, time};
use crate::database::Database;
use crate::error::Stage;
use crate::schema::Schema;
use crate::session::Pool;
use crate::settings::BEGIN;
use crate::time::Timestamp;

/// Versions of the fraud rules, in the store's schema.
pub(crate) struct Rulesets {
    database: Arc<Database>,
    find: String,
    begin: String,
    add: String,
}

impl Rulesets {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        let schema = database.schema();
        Self {
            database: Arc::clone(database),
            find: format!("SELECT version FROM {schema}.rulesets WHERE rules = $1"),
            // One process at a time takes the next number.
            begin: format!(
                "{BEGIN}; SELECT pg_catalog.pg_advisory_xact_lock({})",
                schema.lock_key("rulesets")
            ),
            add: format!(
                "INSERT INTO {schema}.rulesets (version, rules, first_used_at) \
                 SELECT greatest(max(version), 0) + 1, $1, $2 FROM {schema}.rulesets \
                 RETURNING version"
            ),
        }
    }
}

#[async_trait]
impl store::Rulesets for Rulesets {
    async fn ruleset_version(&self, rules: &str) -> Result<i64, Error> {
        let pool = self.database.enter().await?;
        version(&pool, self, rules, self.database.now_ms()).await
    }
}

/// The version of `rules`; the next one is recorded where there is none.
async fn version(
    pool: &Pool,
    statements: &Rulesets,
    rules: &str,
    now_ms: EpochMs,
) -> Result<i64, Error> {
    let rejected = |problem: String| Error::Rejected(format!("rulesets: {problem}"));
    store::rulesets::bounded(rules)?;
    sound("rules", rules, store::rulesets::RULES_BYTES_MAX).map_err(rejected)?;
    let now = time("first_used_at", now_ms).map_err(rejected)?;
    let mut session = pool.session(Stage::Open).await?;
    let client = session.client();
    let (version, added) = session
        .bounded(async {
            let find = client.prepare_cached(&statements.find).await?;
            if let Some(row) = client.query_opt(&find, &[&rules]).await? {
                return Ok((row.try_get(0)?, false));
            }
            client.batch_execute(&statements.begin).await?;
            // Another process may have added it meanwhile.
            if let Some(row) = client.query_opt(&find, &[&rules]).await? {
                return Ok((row.try_get(0)?, true));
            }
            let row = client.query_one(&statements.add, &[&rules, &now]).await?;
            Ok((row.try_get(0)?, true))
        })
        .await?;
    if added {
        session.commit().await?;
    }
    session.keep();
    Ok(version)
}

/// All of them, in the order of their versions.
pub(crate) fn all(schema: &Schema) -> String {
    format!("SELECT version, rules, first_used_at FROM {schema}.rulesets ORDER BY version")
}

/// One row of [`all`].
pub(crate) fn one(row: &Row) -> Result<Ruleset, tokio_postgres::Error> {
    let first_used_at_ms = row.try_get::<_, Timestamp>(2)?.ms();
    Ok(Ruleset { version: row.try_get(0)?, rules: row.try_get(1)?, first_used_at_ms })
}
