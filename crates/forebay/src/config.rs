//! Settings: from defaults, a file, the environment and flags, to what the process runs with.
//!
//! Two stages. Raw: every layer says which key it sets to what, and where it says so ([`Settings`]).
//! Resolved: the values, typed, in the options of the crates that use them ([`Config`]).
//!
//! Precedence: default, then the variables other tools know ([`conventional`]), then file, then our
//! own variables, then flag. Each key is described once, in [`schema`]; a key that is not there is
//! refused, with the nearest one that is.

pub(crate) mod conventional;
mod environment;
mod error;
mod file;
mod flags;
mod layers;
mod next;
mod payments;
mod resolve;
pub(crate) mod schema;
mod section;
mod sections;
mod service_links;
mod settings;
mod spill;
mod tables;
mod value;
mod written_behind;

pub(crate) use error::Error;
pub(crate) use flags::Flags;
pub(crate) use layers::read;
pub(crate) use next::Next;
pub(crate) use resolve::Config;
pub(crate) use settings::Settings;
pub(crate) use value::Origin;
pub(crate) use written_behind::Table;
