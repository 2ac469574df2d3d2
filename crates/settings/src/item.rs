//! One entry of a list of the file: `[[table]]`.

use std::fmt::Display;

use crate::{Error, Given, Kind, Value, schema};

/// An entry as the file has it. Its readers refuse what does not fit, with the line of the entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where it begins: `forebay.toml:12`.
    pub place: String,
    list: String,
    values: Vec<(String, Given)>,
}

impl Item {
    pub(crate) fn new(list: &str, place: String, values: Vec<(String, Given)>) -> Self {
        Self { place, list: list.to_owned(), values }
    }

    /// All that it gives.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Given> {
        self.values.iter().map(|(_, value)| value)
    }

    /// Refuses a key that is none of `keys`.
    ///
    /// # Errors
    /// If there is one; suggests the nearest.
    pub fn only(&self, keys: &[&str]) -> Result<(), Error> {
        let unknown = self.values.iter().map(|(key, _)| key).find(|key| !keys.contains(&&***key));
        let Some(key) = unknown else { return Ok(()) };
        let help = match schema::nearest(key, keys.iter().copied()) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => format!("there are {}", keys.join(", ")),
        };
        Err(self.wrong(format!("unknown key \"{key}\" of a [[{}]]; {help}", self.list)))
    }

    /// What it gives for a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a key.
    ///
    /// # Errors
    /// If it is something else, or empty.
    pub fn text(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.of_kind(key, Kind::Text)?.map(|value| value.to_string()))
    }

    /// The text of a key that each entry has.
    ///
    /// # Errors
    /// If it is missing, which `example` mends, or something else.
    pub fn needed(&self, key: &str, example: &str) -> Result<String, Error> {
        self.text(key)?.ok_or_else(|| self.missing(key, example))
    }

    /// Whether a key is `true`.
    ///
    /// # Errors
    /// If it is neither `true` nor `false`.
    pub fn switch(&self, key: &str) -> Result<bool, Error> {
        Ok(self.of_kind(key, Kind::Switch)? == Some(Value::Switch(true)))
    }

    /// A whole number from `min` to `max`, neither of which is negative.
    ///
    /// # Errors
    /// If it is none.
    pub fn count(
        &self,
        key: &str,
        min: i64,
        max: i64,
        default: impl TryInto<i64>,
    ) -> Result<usize, Error> {
        let value = match self.of_kind(key, Kind::Whole { min, max })? {
            Some(Value::Whole(number)) => number,
            _ => default.try_into().unwrap_or(i64::MAX),
        };
        Ok(usize::try_from(value).expect("no bound is below 0"))
    }

    /// A time in milliseconds, up to `max`.
    ///
    /// # Errors
    /// If it is none.
    pub fn millis(&self, key: &str, max: i64, default: u64) -> Result<u64, Error> {
        self.count(key, 0, max, default).map(|millis| millis as u64)
    }

    /// A list of texts.
    ///
    /// # Errors
    /// If it is something else.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(given) = self.get(key) else { return Ok(None) };
        let wrong = || self.wrong(format!("{key} must be a list of names in quotes"));
        given.texts().map(Some).ok_or_else(wrong)
    }

    /// The error of a key that is missing.
    #[must_use]
    pub fn missing(&self, key: &str, example: &str) -> Error {
        self.wrong(format!("a [[{}]] needs {key}; write {key} = {example}", self.list))
    }

    /// The error of an entry with this problem.
    #[must_use]
    pub fn wrong(&self, problem: impl Display) -> Error {
        Error(format!("{}: {problem}", self.place))
    }

    fn of_kind(&self, key: &str, kind: Kind) -> Result<Option<Value>, Error> {
        let Some(given) = self.get(key) else { return Ok(None) };
        let read = given.read(kind);
        read.map(Some).ok_or_else(|| self.wrong(format!("{key} must be {kind}")))
    }
}
