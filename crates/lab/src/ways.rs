//! Three ways into a store, measured one after the other: one INSERT a payment, a pool of them, and the pipeline.
//!
//! Each way writes into a store of its own, which is removed afterwards ([`Plan::in_scratch`]). [`crate::phases`]
//! shows what they came to.

mod buffered;
mod direct;
mod plan;

pub use buffered::{Buffered, measure};
pub use direct::direct;
pub use plan::Plan;
