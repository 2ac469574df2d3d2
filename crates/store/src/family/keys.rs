//! Which key the card fingerprints of a store are made with.

use async_trait::async_trait;

use crate::Error;
use crate::card::Fingerprint;

/// The key of card fingerprints, by what it makes of a fixed text: [`crate::card::Guard::key_check`].
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// Whether `check` is that of the key the store was begun with. A store that has none yet keeps this one
    /// durably, so that of two keys the first stays.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is worth trying again.
    async fn same_key(&self, check: Fingerprint) -> Result<bool, Error>;
}
