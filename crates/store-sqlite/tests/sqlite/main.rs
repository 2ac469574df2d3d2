//! The store on SQLite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod beside;
mod conformance;
mod failures;
mod moves;
mod tables;
mod versions;
