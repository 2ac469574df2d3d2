//! Payments: settled whole and once, named when they are there already, and read back as a card's history.

mod all_or_nothing;
mod concurrency;
mod duplicates;
mod emptiness;
mod fences;
mod histories;
mod reopening;
mod round_trip;

pub use all_or_nothing::*;
pub use concurrency::*;
pub use duplicates::*;
pub use emptiness::*;
pub use fences::*;
pub use histories::*;
pub use reopening::*;
pub use round_trip::*;
