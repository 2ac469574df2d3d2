//! Each guard over time and over random sequences, on a clock that the tests pass in.

mod breaker;
mod limit;
mod service;
mod shared;
mod shares;
