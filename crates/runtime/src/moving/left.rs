//! A process with one buffer, held against the moves of its pipeline that the store has recorded.

use buffer::Identity;
use buffer::distinct::is_same;
use store::Moves;
use store::moves::Recorded;

use super::error::Error;
use super::subject::Subject;
use super::way::{both, ended, left, shown};

/// Where a process with one buffer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// All that was accepted is in this buffer, as far as the record tells.
    Whole,
    /// The move is unfinished: both of its buffers may hold events.
    Unfinished(Recorded),
    /// A move has left this buffer. Why it can't be used alone, and what to do.
    Left(String),
}

/// Where a process stands that has `buffer` alone for this pipeline.
///
/// # Errors
/// If the store can't be reached.
pub async fn place(
    moves: &dyn Moves,
    subject: &Subject,
    buffer: &Identity,
) -> Result<Place, Error> {
    let Subject { pipeline, parse, .. } = subject;
    let Some(recorded) = moves.recorded(pipeline).await? else { return Ok(Place::Whole) };
    let is_finished = recorded.step.is_finished();
    let (end, used) = if is_finished { ended(&recorded, *parse) } else { both(&recorded, *parse) };
    if !is_any(&used, buffer).await {
        if is_finished && is_any(&left(&recorded, *parse).1, buffer).await {
            return Ok(Place::Left(by_the_last(&recorded, subject, buffer, &end)));
        }
        let earlier = moves.left(pipeline).await?;
        let earlier: Vec<_> = earlier.iter().filter_map(|url| parse(url)).collect();
        if is_any(&earlier, buffer).await {
            return Ok(Place::Left(by_an_earlier(&recorded, subject, buffer, &end)));
        }
    }
    Ok(if is_finished { Place::Whole } else { Place::Unfinished(recorded) })
}

/// What to say of a move that this process, which has this one buffer, does not join: a part of what was
/// accepted may be in the other one.
///
/// # Errors
/// If the store can't be reached.
pub async fn left_behind(
    moves: &dyn Moves,
    subject: &Subject,
    buffer: &Identity,
) -> Result<Option<String>, Error> {
    Ok(match place(moves, subject, buffer).await? {
        Place::Whole => None,
        // The store was out of reach when the process started.
        Place::Left(why) => Some(format!("THIS BUFFER WAS LEFT: {why}")),
        Place::Unfinished(recorded) => {
            let route = recorded.step.route;
            let (share, phase, name) = (route.share, route.phase.name(), shown(&recorded));
            Some(format!(
                "ACCEPTED EVENTS MAY WAIT IN ANOTHER BUFFER: the move from {name} is at {share} % ({phase}), \
                 and this process does not lease from both. Set buffer and next_buffer as they were, \
                 and lead it on with `{}`, or back with --rollback.",
                subject.command
            ))
        }
    })
}

/// The refusal of the buffer that the last move left.
fn by_the_last(recorded: &Recorded, subject: &Subject, buffer: &Identity, end: &str) -> String {
    let (was, command) = (shown(recorded), &subject.command);
    format!(
        "cannot use {buffer} alone: the move from {was} has ended at the other buffer; set buffer to {end}. To \
         settle what {buffer} still holds, or to move back, set buffer and next_buffer as they were and start \
         `forebay serve`; `{command} --rollback` moves back. If {buffer} is a new address of the \
         buffer where the move ended, run `{command} --ended-here`"
    )
}

/// The refusal of a buffer that a move before the recorded one left.
fn by_an_earlier(recorded: &Recorded, subject: &Subject, buffer: &Identity, end: &str) -> String {
    let command = &subject.command;
    if !recorded.step.is_finished() {
        return format!(
            "cannot use {buffer} alone: an earlier move has left it, and the move from {end} is unfinished; set \
             buffer and next_buffer as recorded and end it with `{command}` or --rollback"
        );
    }
    format!(
        "cannot use {buffer} alone: an earlier move has left it, and the last one ended at {end}; set buffer to \
         {end}. To settle what {buffer} still holds, or to move there, set next_buffer to {buffer} as well and \
         start `forebay serve`. If {buffer} is a new address of the buffer where the move ended, run `{command} \
         --ended-here`"
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
