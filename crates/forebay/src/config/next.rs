//! The buffer that a pipeline moves to.

use std::sync::Arc;

use buffer::Location;

/// The buffer that a pipeline moves to.
#[derive(Debug, Clone)]
pub(crate) struct Next {
    pub(crate) buffer: Arc<dyn Location>,
    /// Its URL, without passwords.
    pub(crate) to: String,
}
