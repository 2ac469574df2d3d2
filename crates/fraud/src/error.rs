//! What can go wrong before screening starts. Screening itself can't fail.

use model::{Class, Classify};

/// A failure to set screening up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value of the ruleset is out of bounds.
    #[error("ruleset, {field}: {problem}")]
    Ruleset {
        /// Which value, as it is written in the file.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A payment that was not read by [`model::Payment::parse`] has no usable card number.
    #[error("card_number: must be 12 to 19 digits, nothing else")]
    CardNumber,
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Ruleset { .. } | Self::CardNumber => Class::Rejected,
            Self::Store(error) => error.class(),
        }
    }
}
