//! Every key with its value and who set it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use model::url::redacted;

use crate::{Error, Item, Origin, Setting, Value, schema};

/// What the program is called where its settings are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// `forebay`: its file is `forebay.toml`, its variables begin with `FOREBAY_`.
    pub name: &'static str,
    /// The key of the folder that `{KEY}` stands for in texts of other keys: `data`.
    pub folder: &'static str,
}

/// The keys of a part of a program: of a domain, or of what all share.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// All keys, in the order they are shown in.
    pub keys: fn() -> Vec<Setting>,
    /// The lists of structured entries, by their names in the file: `table` is written `[[table]]`.
    pub lists: &'static [&'static str],
    /// Refuses values that do not fit together. The sentence names the key, and who set it.
    pub check: fn(&Settings) -> Result<(), Error>,
    /// What is shown of the lists.
    pub shown: fn(&Settings) -> Result<Vec<Shown>, Error>,
}

/// One line of what is shown of an entry of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// What it is called: `table.prices.lanes`.
    pub key: String,
    /// Without passwords.
    pub value: Value,
    /// Where it says so: `forebay.toml:12`.
    pub from: String,
}

impl Section {
    /// Plain keys that are right each by itself.
    #[must_use]
    pub const fn new(keys: fn() -> Vec<Setting>) -> Self {
        Self { keys, lists: &[], check: |_| Ok(()), shown: |_| Ok(Vec::new()) }
    }
}

/// Effective values, one for each key, in the order of the sections.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) program: Program,
    pub(crate) sections: Vec<Section>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) lists: BTreeMap<&'static str, Vec<Item>>,
    pub(crate) asked: Asked,
}

/// The environment variables that backends ask for and that entries name: never shown, and in no file.
#[derive(Clone, Default)]
pub(crate) struct Asked(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

/// One effective value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub setting: Setting,
    /// Its value.
    pub value: Value,
    /// Who set it.
    pub origin: Origin,
}

impl Settings {
    /// The defaults of all keys: what holds when nothing is set.
    #[must_use]
    pub fn new(program: Program, sections: Vec<Section>) -> Self {
        let entry = |setting: Setting| {
            let value = setting.default.clone();
            Entry { setting, value, origin: Origin::Default }
        };
        let entries = sections.iter().flat_map(|section| (section.keys)()).map(entry).collect();
        let lists = sections.iter().flat_map(|section| section.lists);
        let lists = lists.map(|list| (*list, Vec::new())).collect();
        Self { program, sections, entries, lists, asked: Asked::default() }
    }

    /// Keeps what backends ask of the environment, and what entries name ([`Settings::variable`]).
    pub fn keep(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.asked.0.extend(variables);
    }

    /// Checks each section.
    ///
    /// # Errors
    /// The first value that does not fit to the others.
    pub fn check(&self) -> Result<(), Error> {
        self.sections.iter().try_for_each(|section| (section.check)(self))
    }

    /// Every key.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The entry of a key.
    ///
    /// # Panics
    /// If the schema has no such key.
    pub fn entry(&self, key: &str) -> &Entry {
        let entry = self.entries.iter().find(|entry| entry.setting.key == key);
        entry.expect("only keys of the schema are asked for")
    }

    /// The entries that the file has of a list, in its order.
    #[must_use]
    pub fn items(&self, list: &str) -> &[Item] {
        self.lists.get(list).map_or(&[], Vec::as_slice)
    }

    /// The entries of a list, if there is such a list.
    pub(crate) fn items_mut(&mut self, list: &str) -> Option<&mut Vec<Item>> {
        self.lists.get_mut(list)
    }

    /// Whether `section.…` is a key.
    pub(crate) fn has_section(&self, section: &str) -> bool {
        schema::sections(self.keys()).contains(section)
    }

    /// The description of `key`, or an error that suggests the nearest one. `written` is the key as
    /// the user wrote it, `spell` turns a key of the schema into the same spelling.
    pub(crate) fn find(
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
                None => format!("`{} config show` lists all", self.program.name),
            }
        };
        Err(Error(format!("{place}: unknown key {written}; {help}")))
    }

    /// Sets a key of the schema.
    pub(crate) fn set(&mut self, key: &str, value: Value, origin: Origin) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.setting.key == key) {
            entry.value = value;
            entry.origin = origin;
        }
    }

    /// Sets a key from text.
    ///
    /// # Errors
    /// If the text is no value of the key; says what would be right.
    ///
    /// # Panics
    /// If there is no such key.
    pub fn set_text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), Error> {
        let setting = self.entry(key).setting.clone();
        let Some(value) = setting.kind.read_text(text) else {
            let (key, kind) = (&setting.key, setting.kind);
            return Err(Error(format!("{origin}: {key} is \"{text}\"; it must be {kind}")));
        };
        self.set(&setting.key, value, origin);
        Ok(())
    }

    /// Sets keys from `KEY=VALUE`, in order. `flag` is the flag that they were given to.
    ///
    /// # Errors
    /// If one is written otherwise, names no key, or holds no value of it.
    pub fn set_pairs(&mut self, flag: &str, pairs: &[String]) -> Result<(), Error> {
        for pair in pairs {
            let Some((key, text)) = pair.split_once('=') else {
                return Err(Error(format!("{flag} {pair}: write KEY=VALUE, e.g. engine.lanes=4")));
            };
            let setting = self.find(key.trim(), flag, key.trim(), str::to_owned)?;
            self.set_text(&setting.key, text, Origin::Flag(flag.to_owned()))?;
        }
        Ok(())
    }

    fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.entries.iter().map(|entry| entry.setting.key.as_str())
    }
}

/// Values in the types of what uses them. Each panics where the key is not in the schema, or of another kind.
impl Settings {
    /// Text with the folder filled in.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        self.filled(&self.text(key))
    }

    /// `text` with the folder filled in: `{data}/x` is `./data/x`.
    #[must_use]
    pub fn filled(&self, text: &str) -> String {
        let folder = self.program.folder;
        text.replace(&format!("{{{folder}}}"), &self.text(folder))
    }

    /// What is shown of a value: the folder filled in, passwords hidden.
    #[must_use]
    pub fn shown(&self, entry: &Entry) -> Value {
        match &entry.value {
            Value::Text(_) => Value::Text(redacted(&self.path(&entry.setting.key))),
            other => other.clone(),
        }
    }

    /// What is shown of all: each key, and each entry of a list.
    ///
    /// # Errors
    /// If an entry of a list is not as it has to be.
    pub fn all_shown(&self) -> Result<Vec<Shown>, Error> {
        let shown = |entry: &Entry| Shown {
            key: entry.setting.key.clone(),
            value: self.shown(entry),
            from: entry.origin.to_string(),
        };
        let mut all: Vec<_> = self.entries().map(shown).collect();
        for section in &self.sections {
            all.extend((section.shown)(self)?);
        }
        Ok(all)
    }

    /// The environment, as far as backends ask for it.
    pub fn variable(&self) -> impl Fn(&str) -> Option<String> {
        |name| self.asked.0.get(name).cloned()
    }

    /// Text as it was set.
    #[must_use]
    pub fn text(&self, key: &str) -> String {
        self.entry(key).value.to_string()
    }

    /// A whole number.
    #[must_use]
    pub fn whole(&self, key: &str) -> i64 {
        match self.entry(key).value {
            Value::Whole(number) => number,
            _ => unreachable!("{key} is a whole number in the schema"),
        }
    }

    /// A whole number that its bounds keep from being negative.
    #[must_use]
    pub fn number(&self, key: &str) -> u64 {
        u64::try_from(self.whole(key)).expect("the schema allows no negative number")
    }

    /// The same, of things in memory.
    #[must_use]
    pub fn count(&self, key: &str) -> usize {
        usize::try_from(self.whole(key)).expect("the schema allows no negative count")
    }

    /// A number.
    #[must_use]
    pub fn decimal(&self, key: &str) -> f64 {
        match self.entry(key).value {
            Value::Decimal(number) => number,
            _ => unreachable!("{key} is a number in the schema"),
        }
    }

    /// A wait in units of so many seconds.
    #[must_use]
    pub fn seconds(&self, key: &str, unit_s: u64) -> Duration {
        Duration::from_secs(self.number(key) * unit_s)
    }

    /// An error of a key's value, with who set it in front, unless nobody did.
    #[must_use]
    pub fn blame(&self, key: &str, error: impl Into<Error>) -> Error {
        match &self.entry(key).origin {
            Origin::Default => error.into(),
            origin => Error(format!("{origin}: {}", error.into())),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Some keys of a program.
    pub(crate) fn sample() -> Settings {
        let keys = || {
            vec![
                Setting::text("data", "./data"),
                Setting::text("buffer", "journal:{data}/buffer"),
                Setting::text("http.bind", "127.0.0.1:8080"),
                Setting::whole("engine.lanes", 1, 256, 2),
                Setting::whole("engine.batch_max", 1, 100_000, 500),
                Setting::whole("engine.attempts_max", 1, 1_000, 5),
                Setting::choice("cards.store", &["masked", "clear"], "masked"),
            ]
        };
        let listed = Section { lists: &["table"], ..Section::new(Vec::new) };
        Settings::new(Program { name: "forebay", folder: "data" }, vec![Section::new(keys), listed])
    }

    #[test]
    fn the_last_of_several_pairs_wins() {
        let mut settings = sample();
        settings.set_pairs("--set", &["engine.lanes=2".into(), "engine.lanes = 3".into()]).unwrap();
        let lanes = settings.entry("engine.lanes");
        assert_eq!(
            (lanes.value.to_string(), lanes.origin.to_string()),
            ("3".into(), "flag --set".into())
        );
    }

    #[test]
    fn a_pair_that_can_not_be_read_says_what_to_write() {
        let check = |set: &str, expect: &str| {
            let got = sample().set_pairs("--set", &[set.to_owned()]).unwrap_err();
            assert_eq!(got.to_string(), expect);
        };
        check("engine.lanes", "--set engine.lanes: write KEY=VALUE, e.g. engine.lanes=4");
        check("engine.lane=4", "--set: unknown key engine.lane; did you mean engine.lanes?");
    }

    #[test]
    fn the_folder_is_filled_in_and_passwords_are_hidden() {
        let mut settings = sample();
        let url = "redis://u:secret@h/0?list={data}";
        settings.set_text("buffer", url, Origin::Environment("X".into())).unwrap();
        settings.set_text("data", "/srv", Origin::Default).unwrap();
        assert_eq!(settings.path("buffer"), "redis://u:secret@h/0?list=/srv");
        let shown = settings.all_shown().unwrap();
        let buffer = shown.iter().find(|one| one.key == "buffer").unwrap();
        assert!(!buffer.value.to_string().contains("secret"), "{}", buffer.value);
        assert_eq!(buffer.from, "env X");
    }
}
