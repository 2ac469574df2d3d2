//! The laboratory: traffic to try Forebay with, and the means to tell whether it kept its word.
//!
//! - [`generator`] makes payments, [`pace`] offers them in time, [`replay`] reads them from files.
//! - [`sink`] is where events go: a buffer, a server, a stream of lines.
//! - [`audit`] compares what was accepted with what is in the store and on the buffer's medium.
//! - [`progress`] says how far long work is.
//! - [`watch`] samples a pipeline at work, and [`view`] shows it: a picture, or a line a second.
//! - [`phases`] holds several ways into a database side by side: table, JSON, page.
//! - [`score`] tells how well screening found the labelled frauds; [`report`] is all of it in JSON.
//!
//! What it deliberately does not do: it reads no command line and opens no backend; those are handed in.
//!
//! Invariants
//! - A schedule is never slowed down in silence: what could not be held is reported.
//! - An audit is computed from rows and events, never from counters.
//! - What is read from a file is read in bounded memory, whatever the file holds.

pub mod audit;
pub mod generator;
pub mod memory;
pub mod pace;
pub mod phases;
pub mod progress;
pub mod replay;
pub mod report;
pub mod score;
pub mod sink;
pub mod view;
pub mod watch;
