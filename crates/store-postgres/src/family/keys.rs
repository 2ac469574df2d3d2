//! Which key the card fingerprints are made with.

use std::sync::Arc;

use async_trait::async_trait;
use store::Error;
use store::card::Fingerprint;

use crate::database::Database;
use crate::error::Stage;

/// The key, in the store's schema.
pub(crate) struct Keys {
    database: Arc<Database>,
    /// Keeps the check $1 where there is none, and says which is kept.
    keep: String,
}

impl Keys {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        let keep = format!(
            "UPDATE {}.settling_term SET key_check = coalesce(key_check, $1) RETURNING key_check",
            database.schema()
        );
        Self { database: Arc::clone(database), keep }
    }
}

#[async_trait]
impl store::Keys for Keys {
    async fn same_key(&self, check: Fingerprint) -> Result<bool, Error> {
        let pool = self.database.enter().await?;
        let session = pool.session(Stage::Write).await?;
        let ours = check.0.as_slice();
        let row = session.bounded(session.client().query_one(&self.keep, &[&ours])).await?;
        session.keep();
        Ok(row.get::<_, &[u8]>(0) == ours)
    }
}
