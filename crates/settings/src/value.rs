//! A setting's value, what kinds there are, and where one came from.

use std::fmt;
use std::path::PathBuf;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A number.
    Decimal(f64),
    /// `true` or `false`.
    Switch(bool),
}

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Text that is not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number, both ends included.
    Whole {
        /// The least.
        min: i64,
        /// The most; `i64::MAX` is no bound.
        max: i64,
    },
    /// A number, both ends included.
    Decimal {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// `true` or `false`.
    Switch,
}

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is the default.
    Default,
    /// A file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// This variable of the environment.
    Environment(String),
    /// This flag of the command line.
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
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
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
    #[must_use]
    pub fn read_text(self, text: &str) -> Option<Value> {
        let text = text.trim();
        self.within(match self {
            Self::Text | Self::Choice(_) => Value::Text(text.to_owned()),
            Self::Whole { .. } => Value::Whole(text.replace('_', "").parse().ok()?),
            Self::Decimal { .. } => Value::Decimal(text.replace('_', "").parse().ok()?),
            Self::Switch => Value::Switch(text.parse().ok()?),
        })
    }

    /// The value, if it is one of this kind.
    pub(crate) fn within(self, value: Value) -> Option<Value> {
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
