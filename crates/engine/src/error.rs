//! Why an engine did not start, or stopped.

use std::sync::Arc;

use model::{Class, Classify};

/// An engine's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is out of bounds.
    #[error("{field}: {problem}")]
    Option {
        /// Which one.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The handler said that nothing further can be trusted.
    #[error("the {pipeline} pipeline stopped: {cause}")]
    Handler {
        /// The handler's own name.
        pipeline: Arc<str>,
        /// What it said.
        cause: String,
    },
    /// The buffer can't go on.
    #[error("the pipeline stopped because of its buffer: {0}")]
    Buffer(#[from] buffer::Error),
    /// A task of the engine itself ended as none should.
    #[error("the engine broke: {0}; please report this")]
    Broken(String),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Option { .. } => Class::Rejected,
            Self::Handler { .. } | Self::Buffer(_) | Self::Broken(_) => Class::Fatal,
        }
    }
}
