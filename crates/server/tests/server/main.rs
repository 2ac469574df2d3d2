//! The server as clients see it. What a scrape shows is in a program of its own, as the recorder is the
//! process's.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test fails by panicking")]

mod connections;
mod harness;
mod ingest;
mod shutdown;
mod stream;
mod tables;
