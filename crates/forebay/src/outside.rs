//! Reading a store from outside, while others may be working on it: for audits, and for the verbs that look.

use anyhow::Result;
use store::Location;
use store::inspect::{Counts, Inspect};

/// The store, open for reading alone; `None` where there is none yet.
///
/// # Errors
/// If it is there and can't be read.
pub(crate) async fn look(store: &dyn Location) -> Result<Option<Box<dyn Inspect>>> {
    if store.is_missing() {
        return Ok(None);
    }
    Ok(Some(store.inspect().await?))
}

/// What a store holds; `None` where there is none yet.
///
/// # Errors
/// If it is there and can't be read.
pub(crate) async fn counts(store: &dyn Location) -> Result<Option<Counts>> {
    let Some(view) = look(store).await? else { return Ok(None) };
    Ok(Some(view.counts().await?))
}
