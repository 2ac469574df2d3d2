//! The buffer on Kafka, against a real broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod faults;
mod foreign;
mod members;
mod reading;
mod rights;
mod source;
mod topic;
mod transactions;
