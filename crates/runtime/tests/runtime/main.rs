//! Components and fleets over the memory buffer, with handlers that fail as they are told to.
//!
//! Time is tokio's paused clock: waits take no time, and every run is the same.

#![allow(clippy::unwrap_used, reason = "a test that can't go on should say so and fail")]

mod changing;
mod draining;
mod failing;
mod following;
mod lives;
mod pausing;
mod rates;
mod recording;
mod rig;
mod sharing;
mod stepping;
