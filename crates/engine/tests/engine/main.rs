//! The engine on the memory backend, with handlers that fail as they are told to.
//!
//! Time is tokio's paused clock: waits take no time, and every run is the same.

#![allow(clippy::unwrap_used, reason = "a test that can't go on should say so and fail")]

mod batching;
mod bisecting;
mod calls;
mod completions;
mod draining;
mod faults;
mod faulty;
mod leases;
mod load;
mod lost;
mod metrics_names;
mod order;
mod refusals;
mod retrying;
mod rig;
mod room;
mod said;
mod turns;
