//! A setting's value, what kinds there are, and where one came from.

use std::fmt;
use std::path::PathBuf;

use toml::de::DeValue;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Whole(i64),
    Decimal(f64),
    Switch(bool),
}

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Text that is not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number, both ends included.
    Whole { min: i64, max: i64 },
    /// A number, both ends included.
    Decimal { min: f64, max: f64 },
    /// `true` or `false`.
    Switch,
}

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Decimal(number) => write!(f, "{number}"),
            Self::Switch(on) => write!(f, "{on}"),
        }
    }
}

impl Value {
    /// As JSON, for `config show --json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Whole(number) => (*number).into(),
            Self::Decimal(number) => (*number).into(),
            Self::Switch(on) => (*on).into(),
        }
    }
}

impl fmt::Display for Kind {
    /// What is right, to end a sentence that begins with "it must be".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text that is not empty"),
            Self::Choice(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                f.write_str(&quoted.join(" or "))
            }
            Self::Whole { min, max } if *max == i64::MAX => {
                write!(f, "a whole number of at least {min}")
            }
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Decimal { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Switch => f.write_str("true or false"),
        }
    }
}

impl Kind {
    /// Reads what the environment or a flag says. `None` when it is no value of this kind.
    pub(crate) fn read_text(self, text: &str) -> Option<Value> {
        let text = text.trim();
        self.within(match self {
            Self::Text | Self::Choice(_) => Value::Text(text.to_owned()),
            Self::Whole { .. } => Value::Whole(text.replace('_', "").parse().ok()?),
            Self::Decimal { .. } => Value::Decimal(text.replace('_', "").parse().ok()?),
            Self::Switch => Value::Switch(text.parse().ok()?),
        })
    }

    /// Reads what a file says. `None` when it is no value of this kind.
    pub(crate) fn read_toml(self, value: &DeValue<'_>) -> Option<Value> {
        self.within(match self {
            Self::Text | Self::Choice(_) => Value::Text(value.as_str()?.trim().to_owned()),
            Self::Whole { .. } => Value::Whole(value.as_integer().and_then(whole)?),
            Self::Decimal { .. } => Value::Decimal(decimal(value)?),
            Self::Switch => Value::Switch(value.as_bool()?),
        })
    }

    fn within(self, value: Value) -> Option<Value> {
        let holds = match (self, &value) {
            (Self::Text, Value::Text(text)) => !text.is_empty(),
            (Self::Choice(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Self::Whole { min, max }, Value::Whole(n)) => (min..=max).contains(n),
            (Self::Decimal { min, max }, Value::Decimal(n)) => (min..=max).contains(n),
            (Self::Switch, Value::Switch(_)) => true,
            _ => false,
        };
        holds.then_some(value)
    }
}

fn whole(integer: &toml::de::DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A whole number is a number too.
fn decimal(value: &DeValue<'_>) -> Option<f64> {
    match value.as_float() {
        Some(float) => float.as_str().replace('_', "").parse().ok(),
        None => value.as_integer().and_then(whole).map(|number| number as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_the_kind_says_and_bounds_are_held() {
        let lanes = Kind::Whole { min: 1, max: 64 };
        assert_eq!(lanes.read_text(" 4 "), Some(Value::Whole(4)));
        assert_eq!(lanes.read_text("64"), Some(Value::Whole(64)));
        assert_eq!(lanes.read_text("65"), None);
        assert_eq!(lanes.read_text("0"), None);
        assert_eq!(lanes.read_text("four"), None);
        let share = Kind::Decimal { min: 0.01, max: 1.0 };
        assert_eq!(share.read_text("0.8"), Some(Value::Decimal(0.8)));
        assert_eq!(share.read_text("1"), Some(Value::Decimal(1.0)));
        assert_eq!(share.read_text("1.01"), None);
        assert_eq!(share.read_text("NaN"), None);
        assert_eq!(Kind::Switch.read_text("true"), Some(Value::Switch(true)));
        assert_eq!(Kind::Switch.read_text("yes"), None);
        assert_eq!(Kind::Text.read_text("  "), None);
        assert_eq!(Kind::Choice(&["a", "b"]).read_text("c"), None);
    }

    #[test]
    fn a_kind_says_what_is_right() {
        assert_eq!(Kind::Whole { min: 1, max: 64 }.to_string(), "a whole number from 1 to 64");
        assert_eq!(Kind::Decimal { min: 0.5, max: 1.0 }.to_string(), "a number from 0.5 to 1");
        assert_eq!(Kind::Choice(&["a", "b"]).to_string(), "\"a\" or \"b\"");
    }
}
