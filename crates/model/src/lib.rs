//! What passes through Forebay: events, payments, time.
//!
//! Everything here is plain data and the rules for reading it. Nothing here does I/O, reads a clock
//! or knows a backend; [`clock::Clock`] is the seam through which time is passed in.
//!
//! Invariants
//! - An [`event::Event`] within bounds is the only kind there is: the constructor refuses others.
//! - A payment's JSON is read in one place, [`payment::Payment::parse`]; every refusal names the field.
//! - No error of [`url`] and no [`url::redacted`] URL shows a part of a password.

pub mod class;
pub mod clock;
pub mod event;
pub mod mask;
pub mod payment;
pub mod route;
pub mod terminal;
pub mod units;
pub mod url;

pub use class::{Class, Classify};
pub use event::Event;
pub use payment::Payment;
