//! The settings of a program: from defaults, a file, the environment and flags to one value for each key.
//!
//! A program describes each key once, in a [`Section`], and applies the layers in the order of their
//! precedence; the later one wins. Lists of structured entries, `[[name]]`, stand in the file alone ([`Item`]).
//!
//! Invariants
//! - A key that is in no section is refused, with the nearest one that is.
//! - Every value knows who set it ([`Origin`]), and every error says so.
//! - A value is of its key's kind and within its bounds from the moment it is set.
//! - What backends ask of the environment is never shown.
//!
//! What it deliberately does not do: it names no key of any program, reads no environment by itself, and
//! gives values no meaning beyond their kind.

pub mod conventional;
mod environment;
mod error;
mod file;
mod given;
mod item;
mod name;
mod reread;
mod schema;
mod service_links;
mod settings;
pub mod shown;
mod value;
mod variables;

pub use error::Error;
pub use given::Given;
pub use item::Item;
pub use name::{NAME_BYTES_MAX, check_name};
pub use schema::Setting;
pub use settings::{Entry, Program, Section, Settings, Shown};
pub use value::{Kind, Origin, Value};
