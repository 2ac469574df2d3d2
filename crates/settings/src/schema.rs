//! What a key is, and which one a misspelled key may mean.

use std::collections::BTreeSet;

use crate::{Kind, Value};

/// One key.
#[derive(Debug, Clone)]
pub struct Setting {
    /// With its section: `engine.lanes`.
    pub key: String,
    /// What values it takes.
    pub kind: Kind,
    /// Its value where no layer sets one.
    pub default: Value,
}

impl Setting {
    /// A key that takes text.
    #[must_use]
    pub fn text(key: &str, default: &str) -> Self {
        Self::new(key, Kind::Text, Value::Text(default.to_owned()))
    }

    /// A key that takes one of these words.
    #[must_use]
    pub fn choice(key: &str, words: &'static [&'static str], default: &str) -> Self {
        Self::new(key, Kind::Choice(words), Value::Text(default.to_owned()))
    }

    /// A key that takes a whole number. A default beyond `i64` is its largest value.
    #[must_use]
    pub fn whole(key: &str, min: i64, max: i64, default: impl TryInto<i64>) -> Self {
        let default = default.try_into().unwrap_or(i64::MAX);
        Self::new(key, Kind::Whole { min, max }, Value::Whole(default))
    }

    /// A key that takes a number.
    #[must_use]
    pub fn decimal(key: &str, min: f64, max: f64, default: f64) -> Self {
        Self::new(key, Kind::Decimal { min, max }, Value::Decimal(default))
    }

    /// A key that takes `true` or `false`.
    #[must_use]
    pub fn switch(key: &str, default: bool) -> Self {
        Self::new(key, Kind::Switch, Value::Switch(default))
    }

    fn new(key: &str, kind: Kind, default: Value) -> Self {
        Self { key: key.to_owned(), kind, default }
    }
}

/// The line of a file that a byte of it lies in, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Every `a` and `a.b` that keys `a.b.c` lie in.
pub(crate) fn sections<'a>(keys: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let dots = |key: &'a str| key.match_indices('.').map(move |(at, _)| &key[..at]);
    keys.flat_map(dots).collect()
}

/// The key or section most like `key`, if any is like it at all.
pub(crate) fn nearest<'a>(
    key: &str,
    keys: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    // A misspelled last part counts like a misspelled whole: `lanes` means `engine.lanes`.
    let last = |key: &'a str| key.rsplit('.').next().unwrap_or(key);
    let distance = |candidate: &'a str| {
        let whole = strsim::damerau_levenshtein(key, candidate);
        whole.min(strsim::damerau_levenshtein(key, last(candidate)))
    };
    let candidates = keys.clone().chain(sections(keys));
    let best = candidates.min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= (key.len() / 3).max(1)).then(|| best.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_may_be_named_by_its_last_part_or_be_a_section() {
        let check = |key: &str, expect: Option<&str>| {
            let keys = ["data", "buffer", "http.bind", "engine.lanes", "fraud.velocity.window_ms"];
            let got = nearest(key, keys.into_iter());
            assert_eq!(got.as_deref(), expect, "{key}");
        };
        check("engine.lane", Some("engine.lanes"));
        check("lanes", Some("engine.lanes"));
        check("bufer", Some("buffer"));
        check("fruad.velocity.window_ms", Some("fraud.velocity.window_ms"));
        check("htpp", Some("http"));
        check("zzzzzzzzz", None);
    }
}
