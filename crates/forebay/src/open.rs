//! The store that a configuration names, opened, and the clock.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use model::clock::{Clock, System};
use runtime::{lines, listed, moving};
use store::card::Guard;
use store::{Claimed, Store, key_file};

use crate::config::Config;

/// The machine's clock, as everything here takes it.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(System)
}

/// The store, beside the process that settles into it. It connects when it is first used.
///
/// # Errors
/// If an option is wrong.
pub(crate) fn beside(store: &dyn store::Location) -> Result<Arc<dyn Store>> {
    Ok(store.beside(clock())?)
}

/// Opens the store and the guard of its card numbers. A store in a file is made if it is not there.
///
/// # Errors
/// If either can't be opened, or the store was begun with another key.
pub(crate) async fn store(config: &Config) -> Result<(Claimed, Arc<Guard>)> {
    // The key comes first: a store without its key is of no use, a key without a store does no harm.
    let begun = config.store.is_begun().await?.then(|| config.store.place());
    let key = key_file::key(&config.key_file, begun.as_deref())?;
    let guard = Arc::new(Guard::new(&key, config.cards_clear));
    let store = config.store.open(clock()).await?;
    if !store.keys().same_key(guard.key_check()).await? {
        store.close().await?;
        return Err(key_file::another(&config.key_file).into());
    }
    Ok((store, guard))
}

/// See [`listed::in_time`].
///
/// # Errors
/// If it can't be opened by then, or for another reason.
pub(crate) async fn in_time<T>(end: Instant, open: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    listed::in_time(end, may_come, open).await
}

/// Whether it may work if it is tried again: a buffer or a store was out of reach, or another process,
/// which may be about to end, still had a buffer or an address.
pub(crate) fn may_come(error: &anyhow::Error) -> bool {
    use buffer::Error::{Held, Unavailable};
    error.chain().any(|cause| {
        let buffer = matches!(cause.downcast_ref(), Some(Unavailable(_) | Held(_)));
        let store = matches!(cause.downcast_ref(), Some(store::Error::Unavailable(_)));
        let moves = matches!(
            cause.downcast_ref(),
            Some(moving::Error::Store(store::Error::Unavailable(_)))
        );
        let address = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        buffer || store || moves || address == Some(io::ErrorKind::AddrInUse)
    })
}

/// An error of the buffers of a pipeline, with the cause where verbs look for it.
pub(crate) fn told(error: lines::Error) -> anyhow::Error {
    const BUFFER: &str = "the buffer can't be opened";
    use lines::Error as E;
    match error {
        E::Buffer(cause) => anyhow::Error::from(cause).context(BUFFER),
        E::Next(cause) => anyhow::Error::from(cause).context(BUFFER).context("next_buffer"),
        E::Spill(cause) => anyhow::Error::from(cause).context("the spill can't be opened"),
        E::Look(cause) => cause.into(),
        E::Join(cause) => anyhow::Error::from(cause).context("cannot join the move to next_buffer"),
        E::Moved(cause) => cause.into(),
        E::Store(cause) => cause.into(),
        other => other.into(),
    }
}
