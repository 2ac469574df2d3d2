//! Reading a store from outside, while others may be working on it: for audits, and for the verbs that look.
//! Whatever the backend, the same questions.

use anyhow::Result;
use store::inspect::{Counts, Payment};
use store::rulesets::Ruleset;
use tokio::task::block_in_place;

use crate::url;

/// What a store holds; `None` where there is none yet.
///
/// # Errors
/// If it is there and can't be read.
pub(crate) async fn counts(store: &url::Store) -> Result<Option<Counts>> {
    match store {
        url::Store::Sqlite(options) => block_in_place(|| {
            if !options.path.exists() {
                return Ok(None);
            }
            Ok(Some(store_sqlite::inspect::open(&options.path)?.counts()?))
        }),
        url::Store::Postgres(options) => {
            Ok(Some(store_postgres::inspect::open(options).await?.counts().await?))
        }
    }
}

/// How many events were found to be settled already, as the pipelines recorded it.
///
/// # Errors
/// If the store is there and can't be read.
pub(crate) async fn duplicates(store: &url::Store) -> Result<u64> {
    match store {
        url::Store::Sqlite(options) => block_in_place(|| {
            if !options.path.exists() {
                return Ok(0);
            }
            Ok(store_sqlite::inspect::open(&options.path)?.duplicates()?)
        }),
        url::Store::Postgres(options) => {
            Ok(store_postgres::inspect::open(options).await?.duplicates().await?)
        }
    }
}

/// Hands every payment of the store to `each`, in order of settling.
///
/// # Errors
/// If it can't be read. Rows read until then have been handed over.
pub(crate) async fn payments(
    store: &url::Store,
    each: impl FnMut(Payment<'_>) + Send,
) -> Result<()> {
    match store {
        url::Store::Sqlite(options) => {
            block_in_place(|| store_sqlite::inspect::open(&options.path)?.payments(each))?;
        }
        url::Store::Postgres(options) => {
            store_postgres::inspect::open(options).await?.payments(each).await?;
        }
    }
    Ok(())
}

/// Every version of the fraud rules, in order; `None` where there is no store yet.
///
/// # Errors
/// If the store is there and can't be read.
pub(crate) async fn rulesets(store: &url::Store) -> Result<Option<Vec<Ruleset>>> {
    match store {
        url::Store::Sqlite(options) => block_in_place(|| {
            if !options.path.exists() {
                return Ok(None);
            }
            Ok(Some(store_sqlite::inspect::open(&options.path)?.rulesets()?))
        }),
        url::Store::Postgres(options) => {
            Ok(Some(store_postgres::inspect::open(options).await?.rulesets().await?))
        }
    }
}
