//! Why the buffers of a pipeline can't be used.

use std::time::Duration;

use crate::moving;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The buffer can't be opened.
    #[error("the buffer can't be opened")]
    Buffer(#[source] buffer::Error),
    /// The buffer that the pipeline moves to can't be opened.
    #[error("next_buffer: the buffer can't be opened")]
    Next(#[source] buffer::Error),
    /// The spill can't be opened.
    #[error("the spill can't be opened")]
    Spill(#[source] buffer::Error),
    /// A buffer can't be looked at, or closed.
    #[error(transparent)]
    Look(buffer::Error),
    /// The store that records the move can't be used.
    #[error("cannot join the move to next_buffer")]
    Join(#[source] moving::Error),
    /// The recorded moves don't fit to the buffers.
    #[error(transparent)]
    Moved(#[from] moving::Error),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A move has left the buffer; what to do.
    #[error("{0}")]
    Left(String),
    /// What is wrong with a buffer that can be used.
    #[error("{0}")]
    Problem(String),
    /// The store did not answer.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
}

impl Error {
    /// Whether another process has the buffer open.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(
            self,
            Self::Buffer(buffer::Error::Held(_))
                | Self::Look(buffer::Error::Held(_))
                | Self::Next(buffer::Error::Held(_))
        )
    }

    /// With its causes, in one sentence.
    pub(crate) fn in_full(&self) -> String {
        let mut told = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            told.push_str(&format!(": {error}"));
            cause = error.source();
        }
        told
    }
}
