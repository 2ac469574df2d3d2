//! Which key the card fingerprints are made with.

use store::Error;
use store::card::Fingerprint;

use crate::error::Stage;
use crate::schema::Schema;
use crate::session::Pool;

/// Keeps the check $1 where there is none, and says which is kept.
pub(crate) fn statement(schema: &Schema) -> String {
    format!(
        "UPDATE {schema}.settling_term SET key_check = coalesce(key_check, $1) RETURNING key_check"
    )
}

/// Whether `check` is the key's that is kept. Keeps it where there is none.
pub(crate) async fn same(pool: &Pool, keep: &str, check: Fingerprint) -> Result<bool, Error> {
    let session = pool.session(Stage::Write).await?;
    let ours = check.0.as_slice();
    let row = session.bounded(session.client().query_one(keep, &[&ours])).await?;
    session.keep();
    Ok(row.get::<_, &[u8]>(0) == ours)
}
