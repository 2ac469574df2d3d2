//! A process with one buffer, held against the move that the store has recorded.

use buffer::Identity;
use buffer::distinct::is_same;
use store::Moves;
use store::moves::Recorded;

use super::error::Error;
use super::way::{Parse, ended, left, shown};

/// Where a process with one buffer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// All that was accepted is in this buffer, as far as the record tells.
    Whole,
    /// The move is unfinished: both of its buffers may hold events.
    Unfinished(Recorded),
    /// The move has ended at another buffer, and left this one.
    Left(Recorded),
}

/// Where a process stands that has `buffer` alone.
///
/// # Errors
/// If the store can't be reached.
pub async fn place(moves: &dyn Moves, buffer: &Identity, parse: Parse) -> Result<Place, Error> {
    let Some(recorded) = moves.recorded().await? else { return Ok(Place::Whole) };
    if recorded.step.is_finished() {
        let is_left = is_any(&left(&recorded, parse).1, buffer).await;
        return Ok(match is_left && !is_any(&ended(&recorded, parse).1, buffer).await {
            true => Place::Left(recorded),
            false => Place::Whole,
        });
    }
    Ok(Place::Unfinished(recorded))
}

/// What to say of a move that this process, which has this one buffer, does not join: a part of what was
/// accepted may be in the other one.
///
/// # Errors
/// If the store can't be reached.
pub async fn left_behind(
    moves: &dyn Moves,
    buffer: &Identity,
    parse: Parse,
) -> Result<Option<String>, Error> {
    Ok(match place(moves, buffer, parse).await? {
        Place::Whole => None,
        // The store was out of reach when the process started.
        Place::Left(recorded) => {
            Some(format!("THIS BUFFER WAS LEFT: {}", refusal(&recorded, buffer, parse)))
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

/// Why a process with `buffer` alone does not start after a move that left it.
#[must_use]
pub fn refusal(recorded: &Recorded, buffer: &Identity, parse: Parse) -> String {
    let (end, was) = (ended(recorded, parse).0, shown(recorded));
    format!(
        "cannot use {buffer} alone: the move from {was} has ended at the other buffer; set buffer to {end}. To \
         settle what {buffer} still holds, or to move back, set buffer and next_buffer as they were and start \
         `forebay serve`; `forebay buffer migrate --rollback` moves back. If {buffer} is a new address of the \
         buffer where the move ended, run `forebay buffer migrate --ended-here`"
    )
}

async fn is_any(identities: &[Identity], buffer: &Identity) -> bool {
    for identity in identities {
        if is_same(identity, buffer).await {
            return true;
        }
    }
    false
}
