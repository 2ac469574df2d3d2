//! Realistic payments, the same for the same seed.
//!
//! Plain traffic keeps clear of the four rules as far as the generator's own memory of
//! each card goes: a payment that would trip one is drawn again, up to [`REDRAWS_MAX`] times. What
//! screening flags beyond the labelled frauds is then a fault of screening, or of a pool too small
//! for the rate: five hundred users can't pay 5,000 times a second without every card being at it
//! more than five times a minute. [`EventTime::calm`] runs event time faster, so that they can.
//!
//! Frauds are labelled, and the label travels outside the payment.
//! - velocity: five to eight small payments with one card, among other traffic. Those from the
//!   fifth on are labelled: before it nothing tells them from plain ones.
//! - amount spike: at least twelve times the mean of what the card paid before.
//! - dawn high amount: 5,000,000 KRW or more before six. Outside those hours it is dated back to
//!   the dawn of the same day: an event that arrives late.
//! - unusual category: a normal user pays 10,000,000 KRW or more for luxury; when luxury is closed,
//!   dated back to its last opening.
//!
//! Deliberately absent: a clock. Event time is an argument.
//!
//! Invariants
//! - Same seed, same options, same times asked for: the same bytes.
//! - No payment lies outside its category's opening hours in Asia/Seoul, frauds included.

pub mod category;
mod draft;
mod draw;
mod event_time;
mod fraud;
mod kind;
mod pool;
mod source;
mod stream;
#[cfg(test)]
mod tests;

pub use category::Category;
pub use event_time::EventTime;
pub use kind::Kind;
pub use source::Source;
pub use stream::{Error, Generated, Generator, Options, REDRAWS_MAX, RUN_BYTES_MAX};
