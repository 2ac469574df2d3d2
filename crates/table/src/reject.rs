//! Why bytes are not a row.

use std::borrow::Cow;

use model::{Class, Classify};

/// Names the column and what would be right; repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Reject {
    /// The column at fault, `key` for the one in the path, or `row` when it is the whole.
    pub field: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Reject {
    pub(crate) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: Cow::Owned(field.to_owned()), problem: problem.into() }
    }

    pub(crate) fn row(problem: impl Into<String>) -> Self {
        Self { field: Cow::Borrowed("row"), problem: problem.into() }
    }

    pub(crate) fn key(problem: impl Into<String>) -> Self {
        Self { field: Cow::Borrowed("key"), problem: problem.into() }
    }
}

impl Classify for Reject {
    fn class(&self) -> Class {
        Class::Rejected
    }
}
