//! A buffer backend and a domain for tests alone.
//!
//! The backend is the proof of `docs/adding-a-backend.md`: a folder with one file for each event that is not settled.
//! The domain is the proof of `docs/adding-a-domain.md`: tickets, each of which becomes one row. The program of this
//! crate is Forebay with both; nothing of them is in the `forebay` binary.
//!
//! Invariants
//! - An event in the folder has its file from before its offer returns until it is acked or buried.
//! - A ticket and the mark that it was settled are one row.
//!
//! What it deliberately does not do: its backend syncs no file, keeps no dead letters beyond its process, and keeps
//! no second process out. Its domain has no family of tables of its own, because those are made by the migrations of
//! the product: it writes through the family of tables of others.

mod backend;
mod file;
mod folder_buffer;
mod handler;
mod keys;
mod options;
mod routes;
mod ticket;
mod tickets;
mod verb;

pub use backend::Backend;
pub use folder_buffer::FolderBuffer;
pub use options::Options;
pub use tickets::Tickets;

/// The name of the domain's pipeline.
const PIPELINE: &str = "tickets";
