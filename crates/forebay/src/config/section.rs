//! What a domain adds to the configuration.

use super::error::Error;
use super::schema::Setting;
use super::settings::Settings;

/// The keys of a domain.
pub(crate) struct Section {
    /// All of them, in the order they are shown in.
    pub(crate) keys: fn() -> Vec<Setting>,
    /// Refuses values that do not fit together. The sentence names the key, and who set it.
    pub(crate) check: fn(&Settings) -> Result<(), Error>,
}
