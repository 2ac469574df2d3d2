//! The buffer on Redis, against real servers and clusters.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod commands;
mod conformance;
mod erasing;
mod failover;
mod faults;
mod foreign;
mod members;
mod memory;
mod place;
mod rights;
mod sharing;
