//! What a table looks like, as far as it is written.

use std::collections::HashSet;
use std::fmt;

use super::{Name, Record, Value};

/// Most columns that are written.
pub const COLUMNS_MAX: usize = 200;
/// Most columns that a key has.
pub const KEYS_MAX: usize = 8;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A whole number of 64 bits.
    Bigint,
    /// A floating-point number of 64 bits.
    Double,
    /// Text without NUL.
    Text,
    /// True or false.
    Bool,
    /// A moment, in microseconds.
    Timestamptz,
    /// An exact decimal number, as text.
    Numeric,
    /// JSON, as text.
    Json,
    /// 128 bits, as text.
    Uuid,
}

impl Type {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Bigint,
        Self::Double,
        Self::Text,
        Self::Bool,
        Self::Timestamptz,
        Self::Numeric,
        Self::Json,
        Self::Uuid,
    ];

    /// As it is written in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bigint => "bigint",
            Self::Double => "double",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Timestamptz => "timestamptz",
            Self::Numeric => "numeric",
            Self::Json => "json",
            Self::Uuid => "uuid",
        }
    }

    /// The type written as `name`, if it is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether equal values are always equal text, so that a key can be made of it.
    #[must_use]
    pub const fn is_for_keys(self) -> bool {
        matches!(self, Self::Bigint | Self::Text | Self::Bool | Self::Timestamptz | Self::Uuid)
    }

    /// Whether it counts upwards, so that it can be a version.
    #[must_use]
    pub const fn is_for_versions(self) -> bool {
        matches!(self, Self::Bigint | Self::Timestamptz)
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Name,
    /// What it holds.
    pub kind: Type,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

/// What a row does to one of the same key that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: the first one stands.
    Insert,
    /// Takes its place if its version is greater.
    Upsert {
        /// Which column is the version.
        version: usize,
        /// Whether versions are stamps: microseconds since the Unix epoch.
        stamped: bool,
    },
}

/// A table, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its schema; without one, the store's own habit (`public` in PostgreSQL).
    pub schema: Option<Name>,
    /// Its name.
    pub table: Name,
    /// The columns that are written and read, in the order of a row's values.
    pub columns: Vec<Column>,
    /// Which of them are the key, in the key's order.
    pub keys: Vec<usize>,
    /// What a row does to one that is there.
    pub mode: Mode,
}

impl Target {
    /// # Errors
    /// What does not fit together.
    pub fn check(&self) -> Result<(), String> {
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX {
            return Err(format!("columns: name 1 to {COLUMNS_MAX}"));
        }
        let mut seen = HashSet::new();
        for column in &self.columns {
            // SQLite does not tell case apart.
            if !seen.insert(column.name.as_str().to_ascii_lowercase()) {
                return Err(format!("columns: \"{}\" is there twice", column.name));
            }
        }
        if self.keys.is_empty() || self.keys.len() > KEYS_MAX {
            return Err(format!("keys: name 1 to {KEYS_MAX} columns"));
        }
        for (nth, &key) in self.keys.iter().enumerate() {
            let column = self.columns.get(key).ok_or("keys: there is no such column")?;
            let (name, kind) = (&column.name, column.kind.name());
            if self.keys[..nth].contains(&key) {
                return Err(format!("keys: \"{name}\" is there twice"));
            }
            if !column.kind.is_for_keys() {
                return Err(format!(
                    "keys: \"{name}\" is {kind}; a key is of bigint, text, bool, timestamptz or uuid"
                ));
            }
            if column.nullable {
                return Err(format!("keys: \"{name}\" may be null; a key may not"));
            }
        }
        let Mode::Upsert { version, .. } = self.mode else { return Ok(()) };
        let column = self.columns.get(version).ok_or("version: there is no such column")?;
        let (name, kind) = (&column.name, column.kind.name());
        if !column.kind.is_for_versions() {
            return Err(format!("version: \"{name}\" is {kind}; it must be bigint or timestamptz"));
        }
        if column.nullable || self.keys.contains(&version) {
            return Err(format!("version: \"{name}\" must be neither null nor part of the key"));
        }
        Ok(())
    }

    /// The values of a row's key, in the key's order.
    #[must_use]
    pub fn key(&self, row: &Record) -> Vec<Value> {
        self.keys.iter().map(|&key| row[key].clone()).collect()
    }

    /// A row's version, where there is one: a whole number, or microseconds.
    #[must_use]
    pub fn version(&self, row: &Record) -> Option<i64> {
        let Mode::Upsert { version, .. } = self.mode else { return None };
        match row[version] {
            Value::Bigint(version) | Value::Timestamptz(version) => Some(version),
            _ => None,
        }
    }

    /// Schema and table as they stand in SQL.
    #[must_use]
    pub fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", schema.quoted(), self.table.quoted()),
            None => self.table.quoted(),
        }
    }

    /// The columns of the key as they stand in SQL.
    #[must_use]
    pub fn quoted_keys(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|&key| self.columns[key].name.quoted()).collect();
        keys.join(", ")
    }

    /// The columns as they stand in SQL.
    #[must_use]
    pub fn quoted_columns(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| column.name.quoted()).collect();
        columns.join(", ")
    }

    /// What follows ON CONFLICT and the key: nothing to do, or what of `excluded` takes the place
    /// of the row that is known as `t`. A row without a version is older than any.
    #[must_use]
    pub fn resolution(&self) -> String {
        let Mode::Upsert { version, .. } = self.mode else { return self.replacement() };
        let version = self.columns[version].name.quoted();
        format!(
            "{} WHERE t.{version} IS NULL OR excluded.{version} > t.{version}",
            self.replacement()
        )
    }

    /// The same, whatever the versions are.
    #[must_use]
    pub fn replacement(&self) -> String {
        if self.mode == Mode::Insert {
            return "DO NOTHING".to_owned();
        }
        let columns = self.columns.iter().enumerate();
        let set: Vec<_> = columns
            .filter(|(at, _)| !self.keys.contains(at))
            .map(|(_, column)| column.name.quoted())
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        format!("DO UPDATE SET {}", set.join(", "))
    }
}

impl fmt::Display for Target {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => write!(f, "{}", self.table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Type, nullable: bool) -> Column {
        Column { name: Name::new(name).unwrap(), kind, nullable }
    }

    fn target() -> Target {
        Target {
            schema: None,
            table: Name::new("prices").unwrap(),
            columns: vec![
                column("sku", Type::Text, false),
                column("price", Type::Numeric, true),
                column("seen", Type::Bigint, false),
            ],
            keys: vec![0],
            mode: Mode::Upsert { version: 2, stamped: false },
        }
    }

    fn check(change: impl FnOnce(&mut Target), expect: &str) {
        let mut target = target();
        change(&mut target);
        let problem = target.check().unwrap_err();
        assert!(problem.contains(expect), "{problem}");
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        target().check().unwrap();
        check(|target| target.columns.clear(), "columns: name 1 to 200");
        check(|target| target.columns[1].name = Name::new("SKU").unwrap(), "is there twice");
        check(|target| target.keys.clear(), "keys: name 1 to 8");
        check(|target| target.keys = vec![1], "\"price\" is numeric");
        check(|target| target.keys = vec![0, 0], "\"sku\" is there twice");
        check(|target| target.columns[0].nullable = true, "a key may not");
        check(
            |target| target.mode = Mode::Upsert { version: 1, stamped: false },
            "must be bigint or timestamptz",
        );
        check(|target| target.columns[2].nullable = true, "neither null nor part of the key");
    }

    #[test]
    fn an_upsert_gives_way_to_a_version_that_is_not_older() {
        assert_eq!(
            target().resolution(),
            "DO UPDATE SET \"price\" = excluded.\"price\", \"seen\" = excluded.\"seen\" \
             WHERE t.\"seen\" IS NULL OR excluded.\"seen\" > t.\"seen\""
        );
    }
}
