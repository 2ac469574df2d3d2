//! The store on PostgreSQL, against a real server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod baseline;
mod bounds;
mod claims;
mod conformance;
mod fences;
mod fixture;
mod inserts;
mod inspection;
mod moves;
mod outages;
mod pipelines;
mod poolers;
mod rejections;
mod schema;
mod tables;
mod tls;
mod versions;
