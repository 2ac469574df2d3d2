//! Events that are POSTed to the URL of a receiver, in order for each key.
//!
//! ```text
//!  POST /v1/webhooks/NAME ─► Events ─► buffer ─► engine ─► Handler ─► Sender ─► the receiver
//!                                                             │          └ of the crate `notify`, which signs
//!                                                             └ ack · again later · bury
//! ```
//!
//! Invariants
//! - An event is acked only after the receiver answered with a 2xx status, or after it is a dead letter with the
//!   cause. Each delivery of an event has the same `webhook-id` and the same bytes.
//! - A key has one delivery under way, and none while an earlier event of the key waits for its next attempt.
//! - No error, no log line and no `Debug` output has the secret, or the query of the URL.
//!
//! What it deliberately does not do: it keeps nothing in a store. A receiver that answered late, or whose answer was
//! lost, gets the same event again, and knows it by its `webhook-id`.

pub mod entry;
mod events;
mod handler;
mod listed;
mod test_delivery;

pub use entry::Entry;
pub use events::Events;
pub use handler::{Answer, Handler};
pub use test_delivery::TestDelivery;
