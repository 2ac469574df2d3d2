//! What accepted events survive, by what the buffer answers.

use super::{Durability, Location};
use crate::Error;

/// What accepted events survive, after asking how the buffer is kept, in sentences of one line each; and what is
/// wrong with that. A buffer of which something is wrong is not called durable. `events` are what they are called:
/// `payments`.
///
/// # Errors
/// If it can't be asked.
pub async fn asked(buffer: &dyn Location, events: &str) -> Result<(String, Vec<String>), Error> {
    let Some(Durability { survives, problems, warnings }) = buffer.durability().await? else {
        return Ok((buffer.accepted(events), Vec::new()));
    };
    let place = buffer.place();
    let sentence = match problems.is_empty() {
        true => format!("Accepted {events} survive {survives}: {place}."),
        false => format!("NOT DURABLE: {place} may lose accepted {events}."),
    };
    // A warning is nothing wrong, and to be known all the same.
    Ok(([vec![sentence], warnings].concat().join("\n"), problems))
}
