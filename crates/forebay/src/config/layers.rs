//! All layers of the settings, in the order of their precedence.

use settings::{Error, Program, Section, Settings};

use super::flags::Flags;
use super::{conventional, general};
use crate::registry;

const PROGRAM: Program = Program { name: "forebay", folder: "data" };
/// What our variables begin with.
const PREFIX: &str = "FOREBAY_";
/// The log filter, which is read before anything else.
const LOG: &str = "FOREBAY_LOG";

/// Reads all layers: defaults, the variables that other tools know (`POSTGRES_HOST`), `forebay.toml` (or the
/// file the flags name), our own variables (`FOREBAY_…`), flags.
///
/// # Errors
/// If a layer can't be read, sets an unknown key, or a value its key does not take.
pub(crate) fn read(
    flags: &Flags,
    variables: Vec<(String, String)>,
    of_domains: impl IntoIterator<Item = Section>,
) -> Result<Settings, Error> {
    let mut settings = defaults(of_domains);
    settings.keep(variables.iter().filter(|(name, _)| registry::asks_for(name)).cloned());
    conventional::apply(&mut settings, &variables)?;
    settings.apply_file(flags.config.as_deref())?;
    let named = settings.named_variables().into_iter();
    settings.keep(named.filter_map(|name| std::env::var(&name).ok().map(|value| (name, value))));
    // A backend reads its own variables.
    settings.apply_environment(variables, |name| name == LOG || registry::asks_for(name))?;
    flags.apply(&mut settings)?;
    Ok(settings)
}

/// The environment, as far as it is ours.
///
/// # Errors
/// If one of our variables is not UTF-8.
pub(crate) fn variables() -> Result<Vec<(String, String)>, Error> {
    let ours = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let ours = name.starts_with(PREFIX) || conventional::NAMES.contains(&name.as_str());
        (ours || registry::asks_for(&name)).then_some(())?;
        Some((name, value))
    });
    ours.map(|(name, value)| {
        let value = value.into_string().map_err(|_| Error(format!("{name} is not UTF-8")))?;
        Ok((name, value))
    })
    .collect()
}

/// What holds when nothing is set.
pub(crate) fn defaults(of_domains: impl IntoIterator<Item = Section>) -> Settings {
    let sections = [general::SECTION].into_iter().chain(of_domains).chain([general::CARDS]);
    Settings::new(PROGRAM, sections.collect())
}
