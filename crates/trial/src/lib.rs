//! A buffer backend and two domains for tests alone.
//!
//! The backend is the proof of `docs/adding-a-backend.md`: a folder with one file for each event that is not settled.
//! The domains are the proof of `docs/adding-a-domain.md`: tickets, a batch of which becomes rows in one transaction,
//! and vouchers, each of which needs a call to an outside service. The program of this crate is Forebay with all three;
//! nothing of them is in the `forebay` binary.
//!
//! Invariants
//! - An event in the folder has its file from before its offer returns until it is acked or buried.
//! - A ticket and the mark that it was settled are one row.
//! - A voucher is called under its id until its row is there.
//!
//! What it deliberately does not do: its backend syncs no file, keeps no dead letters beyond its process, and keeps
//! no second process out. Its domains have no family of tables of their own, because those are made by the migrations
//! of the product: they write through the family of tables of others.

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
mod vouchers;

pub use backend::Backend;
pub use folder_buffer::FolderBuffer;
pub use options::Options;
pub use tickets::Tickets;
pub use vouchers::Vouchers;

/// The name of the pipeline of tickets.
const PIPELINE: &str = "tickets";
