//! The keys of the fraud rules.
//!
//! The thresholds are not listed here: they are read off [`Ruleset`], so that a rule that gains one is
//! configurable at once.

use settings::{Error, Kind, Section, Setting, Settings, Value};
use toml::{Table, Value as Toml};

use crate::Ruleset;

/// What the fraud rules' keys begin with.
const RULES: &str = "fraud.";
/// How many cards are kept in memory, by all lanes together: a key that is no threshold.
pub const CARDS_MAX: &str = "fraud.cards_max";
const CARDS_MAX_MAX: i64 = 100_000_000;

/// What the settings know of the rules.
pub const SECTION: Section =
    Section { check: |settings| ruleset(settings).map(drop), ..Section::new(keys) };

fn keys() -> Vec<Setting> {
    let mut settings = vec![Setting::whole(CARDS_MAX, 1, CARDS_MAX_MAX, crate::CARDS_MAX)];
    rules(&mut settings);
    settings
}

/// The thresholds of the rules. Their bounds are the ruleset's own to hold.
fn rules(settings: &mut Vec<Setting>) {
    let rules = Toml::try_from(Ruleset::default()).expect("a ruleset is plain data");
    flatten("fraud", &rules, settings);
}

fn flatten(name: &str, value: &Toml, settings: &mut Vec<Setting>) {
    let (kind, default) = match value {
        Toml::Table(table) => {
            // Plain values before sections, as in a file.
            let (sections, plain): (Vec<_>, Vec<_>) =
                table.iter().partition(|(_, value)| value.is_table());
            for (key, value) in plain.into_iter().chain(sections) {
                flatten(&format!("{name}.{key}"), value, settings);
            }
            return;
        }
        Toml::String(text) if name.ends_with(".tier") => {
            (Kind::Choice(&["vip", "premium", "normal"]), Value::Text(text.clone()))
        }
        Toml::Integer(default) => (Kind::Whole { min: 0, max: i64::MAX }, Value::Whole(*default)),
        Toml::Boolean(on) => (Kind::Switch, Value::Switch(*on)),
        other => (Kind::Text, Value::Text(other.as_str().unwrap_or_default().to_owned())),
    };
    settings.push(Setting { key: name.to_owned(), kind, default });
}

/// The rules with the thresholds that `settings` name.
///
/// # Errors
/// If a threshold is out of bounds: the sentence says who set it.
pub fn ruleset(settings: &Settings) -> Result<Ruleset, Error> {
    let mut table = Table::new();
    for entry in settings.entries() {
        let key = &entry.setting.key;
        if let Some(path) = key.strip_prefix(RULES).filter(|_| key != CARDS_MAX) {
            insert(&mut table, path, toml_of(&entry.value));
        }
    }
    let ruleset: Ruleset = table.try_into().map_err(|error: toml::de::Error| {
        Error(format!("a threshold of a fraud rule is out of bounds: {}", error.message()))
    })?;
    ruleset.validate().map_err(|error| match error {
        crate::Error::Ruleset { field, problem } => {
            let key = format!("{RULES}{field}");
            Error(format!("{}: {key} {problem}", settings.entry(&key).origin))
        }
        other => Error(other.to_string()),
    })?;
    Ok(ruleset)
}

/// Puts `value` at the dotted `path`.
fn insert(table: &mut Table, path: &str, value: Toml) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Toml::Table(Table::new()));
            if let Toml::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn toml_of(value: &Value) -> Toml {
    match value {
        Value::Text(text) => Toml::String(text.clone()),
        Value::Whole(number) => Toml::Integer(*number),
        Value::Decimal(number) => Toml::Float(*number),
        Value::Switch(on) => Toml::Boolean(*on),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thresholds_of_the_rules_are_keys() {
        let keys: Vec<_> = keys().into_iter().map(|setting| setting.key).collect();
        for key in ["fraud.velocity.window_ms", "fraud.unusual_category.tier"] {
            assert!(keys.iter().any(|known| known == key), "{key} in {keys:?}");
        }
    }
}
