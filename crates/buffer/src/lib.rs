//! The buffer contract: what every backend promises, whatever it is made of.
//!
//! A buffer holds events between the moment they are accepted and the moment their effect is
//! settled. It sees bytes. It reads a payload only for the id and key of another producer's event ([`foreign`]).
//!
//! Invariants (each has a file in [`mod@conformance`])
//! - Accepted means durable: when [`Buffer::offer`] returns, the events survive what
//!   [`Kind::survives`] says.
//! - Nothing leaves but by ack, bury or drop: a lease that is lost comes back.
//! - Events come out in the order they went in, except those released or expired, which come again. Where a
//!   backend keeps it within each key alone, or not at all, its crate says so ([`conformance::Lacks`]).
//! - A full buffer refuses; it never forgets.
//!
//! What it deliberately does not do: it does not dedupe. An event offered twice is held twice; the
//! store, which applies the effect, is the only place that can tell.

pub mod backend;
pub mod conformance;
mod contract;
mod dead;
pub mod distinct;
pub mod erasing;
mod error;
pub mod foreign;
pub mod identity;
mod lease;
pub mod letters;
pub mod memory;
pub mod moving;
pub mod spill;

pub use backend::{Backend, Location};
pub use contract::{Buffer, Depth, Kind};
pub use dead::{DeadLetter, DeadLetters};
pub use error::Error;
pub use identity::Identity;
pub use lease::{Envelope, Receipt};
pub use model::{Class, Classify};
