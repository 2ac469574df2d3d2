//! A buffer backend for tests alone: a folder with one file for each event that is not settled.
//!
//! It is the proof of `docs/adding-a-backend.md`: added by its steps, it runs through the whole program. The
//! program of this crate is Forebay with one backend more; nothing of it is in the `forebay` binary.
//!
//! Invariants
//! - An event has its file from before its offer returns until it is acked or buried.
//!
//! What it deliberately does not do: it syncs no file, keeps no dead letters beyond its process, and keeps
//! no second process out.

mod backend;
mod file;
mod folder_buffer;

pub use backend::{Backend, Options};
pub use folder_buffer::FolderBuffer;
