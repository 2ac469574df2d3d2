//! The buffer on Kafka, against a real broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod faults;
mod foreign;
mod members;
mod topic;
mod transactions;
