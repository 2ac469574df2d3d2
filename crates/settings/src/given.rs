//! A value as a file gives it, before it is known which kind its key takes.

use toml::de::{DeInteger, DeTable, DeValue};

use crate::{Kind, Value};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// A plain value.
    Plain(Value),
    /// A list.
    List(Vec<Given>),
    /// A table, in the order of the file.
    Table(Vec<(String, Given)>),
    /// What no key takes: a date, or a number that is too large.
    Other,
}

impl Given {
    pub(crate) fn of(value: &DeValue<'_>) -> Self {
        let plain = match value {
            DeValue::String(text) => Some(Value::Text(text.clone().into_owned())),
            DeValue::Integer(integer) => whole(integer).map(Value::Whole),
            DeValue::Float(float) => {
                float.as_str().replace('_', "").parse().ok().map(Value::Decimal)
            }
            DeValue::Boolean(on) => Some(Value::Switch(*on)),
            DeValue::Array(values) => {
                return Self::List(values.iter().map(|one| Self::of(one.get_ref())).collect());
            }
            DeValue::Table(table) => return Self::Table(Self::of_table(table)),
            DeValue::Datetime(_) => None,
        };
        plain.map_or(Self::Other, Self::Plain)
    }

    /// The values of a table, in the order of the file.
    pub(crate) fn of_table(table: &DeTable<'_>) -> Vec<(String, Self)> {
        let mut values: Vec<_> = table.iter().collect();
        values.sort_by_key(|(key, _)| key.span().start);
        let given = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            (key.clone().into_owned(), Self::of(value.get_ref()))
        };
        values.into_iter().map(given).collect()
    }

    /// The value that it is, if it is one of this kind. A whole number is a number too. Text loses the blanks at
    /// its ends.
    #[expect(clippy::cast_precision_loss, reason = "a number is as exact as its kind")]
    pub(crate) fn read(&self, kind: Kind) -> Option<Value> {
        match (kind, self) {
            (Kind::Decimal { .. }, Self::Plain(Value::Whole(number))) => {
                kind.within(Value::Decimal(*number as f64))
            }
            (_, Self::Plain(Value::Text(text))) => kind.within(Value::Text(text.trim().to_owned())),
            (_, Self::Plain(value)) => kind.within(value.clone()),
            _ => None,
        }
    }

    /// The text that it is, as it is written, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list of nothing else, as they are written.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<String>> {
        let Self::List(all) = self else { return None };
        all.iter().map(|one| one.text().map(str::to_owned)).collect()
    }
}

fn whole(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
