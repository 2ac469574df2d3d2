//! The laboratory: traffic to try Forebay with, and the means to tell whether it kept its word.
//!
//! - [`generator`] makes payments, [`pace`] offers them in time, [`replay`] reads them from files.
//! - [`sink`] is where events go: a buffer, a server, a stream of lines.
//! - [`audit`] compares what was accepted with what is in the store and on the buffer's medium; [`verdict`]
//!   reads both after a run.
//! - [`progress`] says how far long work is, and [`waiting`] what a move between buffers waits for.
//! - [`watch`] samples a pipeline at work ([`at_work`]), and [`view`] shows it: a picture, or a line a second.
//!   [`demo`] is all of that: traffic, picture, audit.
//! - [`phases`] holds several ways into a database side by side: table, JSON, page. [`ways`] measures them.
//! - [`simulate`] simulates an outside service, and keeps a ledger of its effects.
//! - [`score`] tells how well screening found the labelled frauds; [`report`] is all of it in JSON.
//!
//! What it deliberately does not do: it reads no command line and opens no backend; those are handed in.
//!
//! Invariants
//! - A schedule is never slowed down in silence: what could not be held is reported.
//! - An audit is computed from rows and events, never from counters.
//! - What is read from a file is read in bounded memory, whatever the file holds.

pub mod at_work;
pub mod audit;
pub mod demo;
pub mod generator;
pub mod memory;
pub mod pace;
pub mod phases;
pub mod progress;
pub mod replay;
pub mod report;
pub mod score;
pub mod simulate;
pub mod sink;
pub mod verdict;
pub mod view;
pub mod waiting;
pub mod watch;
pub mod ways;
