//! Dead letters as a person works with them: chosen, replayed or dropped, and shown.
//!
//! What it deliberately does not do: it prints nothing, and opens no buffer.

mod chosen;
mod listing;

pub use chosen::{Change, Changed, Choice, Unknown, change};
pub use listing::{Listing, Name};
