//! The layers of settings, one over the other.

use super::settings::Settings;
use super::{Error, Flags, conventional, environment, file};
use crate::registry;

/// Reads all layers: defaults, the variables that other tools know (`POSTGRES_HOST`),
/// `forebay.toml` (or the file the flags name), our own variables (`FOREBAY_…`), flags.
///
/// # Errors
/// If a layer can't be read, sets an unknown key, or a value its key does not take.
pub(crate) fn read(
    flags: &Flags,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Error> {
    let variables: Vec<_> = variables.into_iter().collect();
    let mut settings = Settings::defaults();
    let asked = variables.iter().filter(|(name, _)| registry::asks_for(name)).cloned();
    settings.secrets.variables = asked.collect();
    conventional::apply(&mut settings, &variables)?;
    file::apply(&mut settings, flags.config.as_deref())?;
    environment::apply(&mut settings, variables)?;
    flags.apply(&mut settings)?;
    Ok(settings)
}
