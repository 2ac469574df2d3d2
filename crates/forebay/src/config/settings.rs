//! Every key with its value and who set it: the raw stage.

use std::collections::BTreeMap;

use super::schema::{self, Setting};
use super::value::{Origin, Value};
use super::{Error, Flags, conventional, environment, file, tables};
use crate::registry;

/// Effective values, one for each key of the schema, in its order.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    entries: Vec<Entry>,
    /// The file's `[[table]]` entries, in its order.
    pub(super) tables: Vec<tables::Entry>,
    pub(super) secrets: Secrets,
}

/// What is never shown and lies in no file of ours.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    pub(super) postgres_password: Option<String>,
    /// The environment variables that backends ask for.
    pub(super) variables: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// One effective value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) setting: Setting,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

impl Settings {
    /// Reads all layers: defaults, the variables that other tools know (`POSTGRES_HOST`),
    /// `forebay.toml` (or the file the flags name), our own variables (`FOREBAY_…`), flags.
    ///
    /// # Errors
    /// If a layer can't be read, sets an unknown key, or a value its key does not take.
    pub(crate) fn read(
        flags: &Flags,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let variables: Vec<_> = variables.into_iter().collect();
        let mut settings = Self::defaults();
        let asked = variables.iter().filter(|(name, _)| registry::asks_for(name)).cloned();
        settings.secrets.variables = asked.collect();
        conventional::apply(&mut settings, &variables)?;
        file::apply(&mut settings, flags.config.as_deref())?;
        environment::apply(&mut settings, variables)?;
        flags.apply(&mut settings)?;
        Ok(settings)
    }

    /// What holds when nobody says anything.
    pub(crate) fn defaults() -> Self {
        let entry = |setting: Setting| {
            let value = setting.default.clone();
            Entry { setting, value, origin: Origin::Default }
        };
        let entries = schema::all().into_iter().map(entry).collect();
        Self { entries, tables: Vec::new(), secrets: Secrets::default() }
    }

    /// Every key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The entry of a key.
    ///
    /// # Panics
    /// If the schema has no such key.
    pub(crate) fn entry(&self, key: &str) -> &Entry {
        let entry = self.entries.iter().find(|entry| entry.setting.key == key);
        entry.expect("only keys of the schema are asked for")
    }

    /// Whether `section.…` is a key.
    pub(super) fn has_section(&self, section: &str) -> bool {
        schema::sections(self.keys()).contains(section)
    }

    /// The description of `key`, or an error that suggests the nearest one. `written` is the key as
    /// the user wrote it, `spell` turns a key of the schema into the same spelling.
    pub(super) fn find(
        &self,
        key: &str,
        place: &str,
        written: &str,
        spell: impl Fn(&str) -> String,
    ) -> Result<Setting, Error> {
        let entry = self.entries.iter().find(|entry| entry.setting.key == key);
        if let Some(entry) = entry {
            return Ok(entry.setting.clone());
        }
        let help = if self.has_section(key) {
            format!("it is a section: write [{key}] and its keys below")
        } else {
            match schema::nearest(key, self.keys()) {
                Some(nearest) => format!("did you mean {}?", spell(&nearest)),
                None => "`forebay config show` lists all".to_owned(),
            }
        };
        Err(Error(format!("{place}: unknown key {written}; {help}")))
    }

    /// Sets a key of the schema.
    pub(super) fn set(&mut self, key: &str, value: Value, origin: Origin) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.setting.key == key) {
            entry.value = value;
            entry.origin = origin;
        }
    }

    /// Sets a key from text, or says what would be right.
    pub(super) fn set_text(
        &mut self,
        setting: &Setting,
        text: &str,
        origin: Origin,
    ) -> Result<(), Error> {
        let Some(value) = setting.kind.read_text(text) else {
            let (key, kind) = (&setting.key, setting.kind);
            return Err(Error(format!("{origin}: {key} is \"{text}\"; it must be {kind}")));
        };
        self.set(&setting.key, value, origin);
        Ok(())
    }

    fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.entries.iter().map(|entry| entry.setting.key.as_str())
    }
}
