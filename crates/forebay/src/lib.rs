//! The program `forebay`: arguments to configuration to run.
//!
//! Only `registry` names backends; everything else knows them by their traits. Only `domains` names domains;
//! everything else asks through [`Domain`]. One file for each verb under `verbs`, what verbs share beside it.
//! Another program adds backends and domains of its own through [`Additions`].
//!
//! What it deliberately does not do: nothing here decides what an event means, how it is kept, or
//! when it is settled; that lies in the libraries.

mod args;
mod config;
mod configured;
mod domain;
mod domains;
mod exit;
mod fleet;
mod listed;
mod log;
mod open;
pub mod out;
mod payments;
mod process;
mod program;
mod registry;
mod reload;
mod target;
mod verbs;
mod webhooks;
mod write_behind;

pub use config::{Config, keys_of_line, line_of_keys};
pub use domain::{Domain, Looked, Names, Reloaded, Running, Started, Verb};
pub use exit::Exit;
pub use process::{Part, Process, Stored};
pub use program::{Additions, main};
