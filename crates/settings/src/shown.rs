//! What is shown of all settings: as lines for a person, as JSON for a script.

use serde_json::json;

use crate::Shown;

/// A line for each value: its key, the value, and where it comes from.
#[must_use]
pub fn lines(all: &[Shown]) -> Vec<String> {
    let value = |shown: &Shown| shown.value.to_string();
    let keys = all.iter().map(|shown| shown.key.len()).max().unwrap_or(0);
    let values = all.iter().map(|shown| value(shown).chars().count()).max().unwrap_or(0);
    let line = |shown: &Shown| {
        let (key, value, from) = (&shown.key, value(shown), &shown.from);
        format!("{key:<keys$}  {value:<values$}  {from}")
    };
    all.iter().map(line).collect()
}

/// An object for each value.
#[must_use]
pub fn json(all: &[Shown]) -> serde_json::Value {
    let entry = |Shown { key, value, from }: &Shown| json!({ "key": key, "value": value.to_json(), "from": from });
    all.iter().map(entry).collect()
}
