//! The configuration: our keys, and what they are resolved to.
//!
//! Precedence: default, then the variables other tools know ([`conventional`]), then file, then our own
//! variables, then flag. How layers are read is the business of [`settings`]; each key is described once, here or
//! by the domain that brings it.

pub(crate) mod conventional;
mod flags;
mod general;
mod layers;
mod lines;
mod resolve;

pub(crate) use flags::Flags;
#[cfg(test)]
pub(crate) use layers::defaults;
pub(crate) use layers::{read, variables};
pub use lines::{keys_of_line, line_of_keys};
pub use resolve::Config;
pub(crate) use resolve::PARSE;
pub(crate) use settings::Error;
