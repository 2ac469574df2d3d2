//! Each guard over time and over random sequences, on a clock that the tests pass in.

mod breaker;
mod budget;
mod limit;
mod rate;
mod service;
mod shared;
mod shares;
