//! Lanes between a buffer and a handler: batches, retry, burial, drain.
//!
//! ```text
//!            lease              by key              settle
//!   Buffer ────────► dispatcher ──────► lane queues ──────► handler's lanes
//!     ▲                                    │                    │
//!     │        extend (heartbeat)          │                    │
//!     ├────────────────────────────────────┘                    │
//!     └── ack · bury · release ◄────────────────────────────────┘
//! ```
//!
//! Invariants
//! - One key's events are settled in the order they were leased, whatever the number of lanes: a
//!   key always goes to the same lane, and a lane retries in place; it never lets an event overtake.
//!   What it gives back to make room is settled before later events of its key, and what one engine of a
//!   pipeline leaves in the buffer is there again before the next one leases.
//! - An event is acked only after the handler said that its effect is in the store, or after it is
//!   durably among the dead letters.
//! - A service that can't be reached is nobody's fault: no event is buried for it, however long.
//! - An event that the store refuses alone waits and blocks its own key only. It is buried only where
//!   the store wrote others in between.
//! - Everything held is bounded by [`Options::held_max`], and its leases are kept alive until it is
//!   settled or given back.
//!
//! What it deliberately does not do: it never reads a payload, it does not dedupe (the handler's
//! transaction does), and it does not close the buffer, which is its owner's.

mod backoff;
mod burial;
pub mod calls;
mod completion;
mod dispatcher;
mod error;
mod given_back;
mod handle;
pub mod handler;
mod heartbeat;
mod held;
pub mod latency;
mod leftover;
mod load;
mod meters;
mod options;
mod service;
mod shared;
mod stats;
mod worker;

pub use error::Error;
pub use handle::{Handle, Probe, Summary};
pub use handler::{Failure, Handler, Lane, Outcome};
pub use load::Work;
pub use meters::Meters;
pub use options::{LANES_MAX, Options};
pub use service::{Handling, Service};
pub use stats::{Counts, Stats};
