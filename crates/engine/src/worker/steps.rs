//! What a lane does next, and what comes of it.

use buffer::Envelope;

use super::apart::Suspect;
use crate::{Error, Outcome};

pub(super) enum Next {
    /// Events to settle together.
    Batch(Vec<Envelope>),
    /// An event that waits alone is due.
    Alone(Suspect),
    /// No more event may wait alone: this one of those that are pending is tried by itself.
    Probe(Envelope),
    /// Keys were lost: what is held of them goes back.
    LetGo,
}

/// What stands after all tries.
pub(super) enum Verdict {
    /// One outcome for each event.
    Done(Vec<Outcome>),
    /// These events can't be settled together; if it is one alone, not at all, and this is why.
    Hopeless(String),
    /// The store refused them; one of them may be at fault, or none. Why.
    Refused(String),
}

/// Why a lane stops in the middle of a batch. What is not done is still held.
pub(super) enum Stop {
    /// The engine gave up waiting.
    Abandoned,
    /// Nothing further can be trusted.
    Failed(Error),
}
