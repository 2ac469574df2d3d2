//! What is wrong with the settings.

/// Settings that can't be used: one sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl From<model::url::Error> for Error {
    fn from(error: model::url::Error) -> Self {
        Self(error.0)
    }
}
