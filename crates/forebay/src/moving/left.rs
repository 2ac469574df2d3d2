//! A process with one buffer, held against the move that the store has recorded.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Result, bail};
use buffer::Identity;
use store::Moves;
use store::moves::Recorded;
use tokio::time::timeout;

use super::way::{ended, left, shown};
use crate::config::Config;
use crate::{distinct, open, url};

/// How long the store may take to name the recorded move. A process that only takes events starts without
/// its store.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Where a process with one buffer stands.
enum Place {
    /// All that was accepted is in this buffer, as far as the record tells.
    Whole,
    /// The move is unfinished: both of its buffers may hold events.
    Unfinished(Recorded),
    /// The move has ended at another buffer, and left this one.
    Left(Recorded),
}

/// Refuses to offer to `buffer` without `next_buffer` after a move that left it: no process would settle it. A
/// store that is out of reach is logged, and no obstacle.
///
/// # Errors
/// If the last move left this buffer; what to do is in the error.
pub(crate) async fn refuse_left(config: &Config, buffer: &url::Buffer) -> Result<()> {
    static WARNED: Once = Once::new();
    let identity = buffer.identity();
    // With next_buffer, the process joins the move or is refused by that.
    if config.next.is_some()
        || config.tables.iter().any(|table| table.buffer.identity().is_same(&identity))
    {
        return Ok(());
    }
    let placed = match timeout(LOOK_MAX, look(config, &identity)).await {
        Ok(placed) => placed,
        Err(_) => Err(anyhow::anyhow!("no answer within {} s", LOOK_MAX.as_secs())),
    };
    match placed {
        Ok(Place::Left(recorded)) => bail!(refusal(&recorded, &identity)),
        Ok(Place::Whole | Place::Unfinished(_)) => {}
        // A start is tried again and again.
        Err(error) => WARNED.call_once(|| {
            tracing::warn!("cannot check whether a move has left the buffer: {error:#}");
        }),
    }
    Ok(())
}

/// What to say of a move that this process, which has this one buffer, does not join: a part of what was
/// accepted may be in the other one.
pub(crate) async fn left_behind(moves: &dyn Moves, buffer: &Identity) -> Result<Option<String>> {
    Ok(match place(moves, buffer).await? {
        Place::Whole => None,
        // The store was out of reach when the process started.
        Place::Left(recorded) => {
            Some(format!("THIS BUFFER WAS LEFT: {}", refusal(&recorded, buffer)))
        }
        Place::Unfinished(recorded) => {
            let route = recorded.step.route;
            let (share, phase, name) = (route.share, route.phase.name(), shown(&recorded));
            Some(format!(
                "ACCEPTED EVENTS MAY WAIT IN ANOTHER BUFFER: the move from {name} is at {share} % ({phase}), \
                 and this process does not lease from both. Set buffer and next_buffer as they were, \
                 and lead it on with `forebay buffer migrate`, or back with --rollback."
            ))
        }
    })
}

async fn look(config: &Config, buffer: &Identity) -> Result<Place> {
    if let url::Store::Sqlite(options) = &config.store
        && !options.path.exists()
    {
        // The first process is about to make it.
        return Ok(Place::Whole);
    }
    let moves = open::moves(&config.store).await?;
    place(&*moves, buffer).await
}

async fn place(moves: &dyn Moves, buffer: &Identity) -> Result<Place> {
    let Some(recorded) = moves.recorded().await? else { return Ok(Place::Whole) };
    if recorded.step.is_finished() {
        let is_left = is_any(&left(&recorded).1, buffer).await;
        return Ok(match is_left && !is_any(&ended(&recorded).1, buffer).await {
            true => Place::Left(recorded),
            false => Place::Whole,
        });
    }
    Ok(Place::Unfinished(recorded))
}

async fn is_any(identities: &[Identity], buffer: &Identity) -> bool {
    for identity in identities {
        if distinct::is_same(identity, buffer).await {
            return true;
        }
    }
    false
}

fn refusal(recorded: &Recorded, buffer: &Identity) -> String {
    let (end, was) = (ended(recorded).0, shown(recorded));
    format!(
        "cannot use {buffer} alone: the move from {was} has ended at the other buffer; set buffer to {end}. To \
         settle what {buffer} still holds, or to move back, set buffer and next_buffer as they were and start \
         `forebay serve`; `forebay buffer migrate --rollback` moves back. If {buffer} is a new address of the \
         buffer where the move ended, run `forebay buffer migrate --ended-here`"
    )
}
