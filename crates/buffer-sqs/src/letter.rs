//! What a message in the queue of dead letters says of its letter.

use buffer::DeadLetter;
use model::Event;
use model::clock::EpochMs;
use serde::{Deserialize, Serialize};

use crate::message::{self, Message};

/// Added to the reason of a letter whose replay was cut short.
pub(crate) const CUT_SHORT: &str = " (a replay of this letter was cut short: its event may be in the buffer again, or \
                                    settled; replay it again to finish)";

/// What is kept of a letter besides its event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) seq: u64,
    pub(crate) reason: String,
    pub(crate) buried_at_ms: EpochMs,
    pub(crate) accepted_at_ms: EpochMs,
    pub(crate) attempts: u32,
    /// The message it came from.
    pub(crate) origin: String,
}

impl Note {
    /// What is known of a letter that this program did not send.
    pub(crate) fn unknown(message: &Message) -> Self {
        let (sent_at_ms, origin) = (message.sent_at_ms(), message.message_id.clone());
        let digest = message::digest(origin.as_bytes());
        let low = u64::from_str_radix(&digest[..5], 16).unwrap_or(0);
        Self {
            seq: (sent_at_ms.unsigned_abs() << 22) | low,
            reason: "moved here by SQS itself (a redrive policy), or by somebody else".to_owned(),
            buried_at_ms: sent_at_ms,
            accepted_at_ms: sent_at_ms,
            // Looking counts as well.
            attempts: 0,
            origin,
        }
    }

    /// The letter of this number.
    pub(crate) fn letter(self, seq: u64, event: Event) -> DeadLetter {
        DeadLetter {
            seq,
            reason: self.reason,
            buried_at_ms: self.buried_at_ms,
            accepted_at_ms: self.accepted_at_ms,
            attempts: self.attempts,
            event,
        }
    }
}
