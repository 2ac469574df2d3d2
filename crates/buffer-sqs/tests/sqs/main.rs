//! The buffer on SQS, against a server of its API.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod faults;
mod foreign;
mod place;
