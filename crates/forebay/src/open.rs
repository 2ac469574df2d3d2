//! The store that a configuration names, opened, and the clock.

use std::io;
use std::sync::Arc;

use anyhow::Result;
use model::clock::{Clock, System};
use runtime::moving;
use store::card::Guard;
use store::{Claimed, Moves, Store, key_file};

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

/// What keeps track of moves between buffers, beside the process that settles.
///
/// # Errors
/// If an option is wrong.
pub(crate) fn moves(store: &dyn store::Location) -> Result<Arc<dyn Moves>> {
    Ok(beside(store)?.moves())
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

/// Tables of others, in the store that `config` names: through `store` where it is open here, or
/// else beside the process that settles into it.
///
/// # Errors
/// If an option is wrong.
pub(crate) fn tables(config: &Config, store: Option<&Claimed>) -> Result<Arc<dyn store::Tables>> {
    Ok(match store {
        Some(store) => store.tables(),
        None => beside(&*config.store)?.tables(),
    })
}
