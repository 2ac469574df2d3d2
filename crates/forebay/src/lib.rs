//! The program `forebay`: arguments to configuration to run.
//!
//! Only `registry` names backends; everything else knows them by their traits.
//! One file for each verb under `verbs`, what verbs share beside it.
//!
//! What it deliberately does not do: nothing here decides what an event means, how it is kept, or
//! when it is settled; that lies in the libraries.

mod args;
mod buffers;
mod config;
mod distinct;
mod domain;
mod domains;
mod exit;
mod files;
mod fleet;
mod guarantee;
mod identity;
mod log;
mod moving;
mod open;
mod out;
mod outside;
mod payments;
mod process;
mod program;
mod registry;
mod signals;
mod target;
mod verbs;
mod verdict;
mod write_behind;

pub use program::main;
