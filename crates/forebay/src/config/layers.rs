//! All layers of the settings, in the order of their precedence.

use super::error::Error;
use super::flags::Flags;
use super::settings::Settings;
use super::{conventional, environment, file, sections};
use crate::registry;

/// Reads all layers: defaults, the variables that other tools know (`POSTGRES_HOST`), `forebay.toml` (or the
/// file the flags name), our own variables (`FOREBAY_…`), flags.
///
/// # Errors
/// If a layer can't be read, sets an unknown key, or a value its key does not take.
pub(crate) fn read(
    flags: &Flags,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Error> {
    let variables: Vec<_> = variables.into_iter().collect();
    let mut settings = defaults();
    let asked = variables.iter().filter(|(name, _)| registry::asks_for(name)).cloned();
    settings.secrets.variables = asked.collect();
    conventional::apply(&mut settings, &variables)?;
    file::apply(&mut settings, flags.config.as_deref())?;
    environment::apply(&mut settings, variables)?;
    flags.apply(&mut settings)?;
    Ok(settings)
}

/// What holds when nothing is set.
pub(super) fn defaults() -> Settings {
    Settings::of(sections::keys())
}
