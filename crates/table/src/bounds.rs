//! What the table's columns take, as far as the table itself says so: rows that it would refuse are
//! refused before they are accepted.
//!
//! The bounds are read from the store at the start and again each minute, for a table may change. As
//! long as the store was never asked, nothing is refused by them. Rows that other producers put into
//! the buffer are not held against them: the table decides, and a dead letter says why.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::clock::EpochMs;
use store::tables::{Bound, Record};
use store::{Error, Table, Target};

use crate::Reject;

/// How long the bounds that were read are taken for those of the table.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// Those that were read last, and when.
    read: RwLock<Option<(EpochMs, Arc<[Bound]>)>>,
}

impl Bounds {
    /// Reads them from `store`.
    pub(crate) async fn learn(&self, store: &dyn Table, now_ms: EpochMs) -> Result<(), Error> {
        let bounds = store.bounds().await?;
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        *read = Some((now_ms, bounds.into()));
        Ok(())
    }

    /// Whether they were not read lately.
    pub(crate) fn are_due(&self, now_ms: EpochMs) -> bool {
        let after_ms = i64::try_from(READ_AGAIN_AFTER.as_millis()).unwrap_or(i64::MAX);
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.as_ref().is_none_or(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= after_ms)
    }

    /// # Errors
    /// A [`Reject`] naming the first column that does not take its value of `row`.
    pub(crate) fn check(&self, target: &Target, row: &Record) -> Result<(), Reject> {
        let bounds = {
            let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
            let Some((_, bounds)) = &*read else { return Ok(()) };
            Arc::clone(bounds)
        };
        for ((column, value), bound) in target.columns.iter().zip(row).zip(&*bounds) {
            bound.check(value).map_err(|problem| Reject::new(column.name.as_str(), problem))?;
        }
        Ok(())
    }
}
