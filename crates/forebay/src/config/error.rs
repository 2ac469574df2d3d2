//! What is wrong with a configuration.

/// A configuration that can't be used: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(pub(crate) String);

impl From<model::url::Error> for Error {
    fn from(error: model::url::Error) -> Self {
        Self(error.0)
    }
}
