//! The whole program with a backend and two domains that it does not name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backend;
mod domain;
mod running;
mod vouchers;
