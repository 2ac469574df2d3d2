//! Every key with its value and who set it: the raw stage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use buffer::Location;
use buffer::backend::Reading;
use buffer::foreign::Fields;
use model::url::redacted;

use super::error::Error;
use super::schema::{self, DATA, Setting};
use super::tables;
use super::value::{Origin, Value};
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
    /// The defaults of `keys`: what holds when nothing is set.
    pub(super) fn of(keys: Vec<Setting>) -> Self {
        let entry = |setting: Setting| {
            let value = setting.default.clone();
            Entry { setting, value, origin: Origin::Default }
        };
        let entries = keys.into_iter().map(entry).collect();
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

/// Values in the types of what uses them.
impl Settings {
    /// Text with `{data}` filled in.
    pub(crate) fn path(&self, key: &str) -> String {
        self.text(key).replace(DATA, &self.text("data"))
    }

    /// What is shown of a value: `{data}` filled in, passwords hidden.
    pub(crate) fn shown(&self, entry: &Entry) -> Value {
        match &entry.value {
            Value::Text(_) => Value::Text(redacted(&self.path(&entry.setting.key))),
            other => other.clone(),
        }
    }

    /// What is shown of the tables: key, value, and where it says so.
    pub(crate) fn shown_tables(&self) -> Vec<(String, Value, String)> {
        self.tables.iter().flat_map(|entry| entry.shown(&self.data())).collect()
    }

    pub(super) fn data(&self) -> String {
        self.text("data")
    }

    /// The buffer that a URL names, with what the environment says of it. `fields` are those of events of other
    /// producers.
    pub(super) fn buffer(&self, url: &str, fields: &Fields) -> Result<Arc<dyn Location>, Error> {
        Ok(registry::buffer(url, &Reading { fields, variable: &self.variable() })?)
    }

    /// The environment, as far as backends ask for it.
    pub(crate) fn variable(&self) -> impl Fn(&str) -> Option<String> {
        |name| self.secrets.variables.get(name).cloned()
    }

    /// The same, of payments.
    pub(super) fn payments(&self, url: &str) -> Result<Arc<dyn Location>, Error> {
        self.buffer(url, &registry::payment_fields())
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.entry(key).value.to_string()
    }

    pub(super) fn whole(&self, key: &str) -> i64 {
        match self.entry(key).value {
            Value::Whole(number) => number,
            _ => unreachable!("{key} is a whole number in the schema"),
        }
    }

    pub(super) fn count(&self, key: &str) -> usize {
        usize::try_from(self.whole(key)).expect("the schema allows no negative count")
    }

    pub(super) fn number(&self, key: &str) -> u64 {
        u64::try_from(self.whole(key)).expect("the schema allows no negative number")
    }

    pub(super) fn decimal(&self, key: &str) -> f64 {
        match self.entry(key).value {
            Value::Decimal(number) => number,
            _ => unreachable!("{key} is a number in the schema"),
        }
    }

    /// A wait in units of so many seconds.
    pub(super) fn seconds(&self, key: &str, unit_s: u64) -> Duration {
        Duration::from_secs(self.number(key) * unit_s)
    }

    pub(super) fn millis(&self, key: &str) -> u64 {
        u64::try_from(self.whole(key)).expect("the schema allows no negative wait")
    }
}
