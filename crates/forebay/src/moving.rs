//! The moves of this process's pipelines between buffers: what of them depends on the configuration.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Result, bail};
use buffer::Identity;
use runtime::moving::{Place, Way, place, refusal};
use tokio::time::timeout;

use crate::config::{Config, Next};
use crate::{open, registry, url};

/// What a move of the payments is recorded under.
const PIPELINE: &str = "payments";
/// How long the store may take to name the recorded move. A process that only takes events starts without
/// its store.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Which buffer a URL names, as this program knows it.
pub(crate) fn identity(url: &str) -> Option<Identity> {
    Some(registry::buffer_of_payments(url).ok()?.identity())
}

/// The way of a process with this configuration.
pub(crate) fn way(config: &Config, next: &Next) -> Way {
    Way::new(PIPELINE, config.buffer.identity(), next.buffer.identity(), identity)
}

/// Refuses to offer to `buffer` without `next_buffer` after a move that left it: no process would settle it. A
/// store that is out of reach is logged, and no obstacle.
///
/// # Errors
/// If the last move left this buffer; what to do is in the error.
pub(crate) async fn refuse_left(config: &Config, buffer: &Identity) -> Result<()> {
    static WARNED: Once = Once::new();
    // With next_buffer, the process joins the move or is refused by that.
    if config.next.is_some()
        || config.tables.iter().any(|table| table.buffer.identity().is_same(buffer))
    {
        return Ok(());
    }
    let placed = match timeout(LOOK_MAX, look(config, buffer)).await {
        Ok(placed) => placed,
        Err(_) => Err(anyhow::anyhow!("no answer within {} s", LOOK_MAX.as_secs())),
    };
    match placed {
        Ok(Place::Left(recorded)) => bail!(refusal(&recorded, buffer, identity)),
        Ok(Place::Whole | Place::Unfinished(_)) => {}
        // A start is tried again and again.
        Err(error) => WARNED.call_once(|| {
            tracing::warn!("cannot check whether a move has left the buffer: {error:#}");
        }),
    }
    Ok(())
}

async fn look(config: &Config, buffer: &Identity) -> Result<Place> {
    if let url::Store::Sqlite(options) = &config.store
        && !options.path.exists()
    {
        // The first process is about to make it.
        return Ok(Place::Whole);
    }
    let moves = open::moves(&config.store).await?;
    Ok(place(&*moves, buffer, identity).await?)
}
