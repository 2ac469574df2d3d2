//! One event that is POSTed to a URL, signed, and what the answer of the receiver means.
//!
//! Invariants
//! - Each delivery of an event has the same `webhook-id` and the same bytes.
//! - No error and no `Debug` output has the secret, or the query of the URL.
//!
//! What it deliberately does not do: it keeps nothing and tries nothing again. Its caller bounds calls with a guard.

mod sender;
mod sign;
mod status;

pub use outbound::unusable;
pub use sender::{Delivery, Sender};
pub use sign::{Secret, Signer};
pub use status::Undelivered;
