//! Lanes between a buffer and a handler: batches, retry, burial, drain.

pub mod handler;

pub use handler::{Failure, Handler, Lane, Outcome};
