//! One table that is written behind: what it is called, where it goes, who gives the versions.

use store::Target;
use store::tables::{Mode, Record, Value};

use crate::version::Version;
use crate::{Reject, json, key};

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What it is called in paths, metrics and directories: `[a-z0-9][a-z0-9_-]*`.
    pub name: String,
    /// Where its rows go.
    pub target: Target,
}

impl Definition {
    /// # Errors
    /// What does not fit together.
    pub fn check(&self) -> Result<(), String> {
        settings::check_name(&self.name)?;
        self.target.check()
    }

    /// Whether the version of a row is a stamp: the moment it was accepted, in microseconds, and not
    /// the client's to give.
    #[must_use]
    pub fn is_stamped(&self) -> bool {
        matches!(self.target.mode, Mode::Upsert { stamped: true, .. })
    }

    /// Reads a client's row. `path` is the key as the path of the request has it, whose columns
    /// the row may then leave out; `stamp` is the version of a table that is stamped.
    ///
    /// # Errors
    /// A [`Reject`] naming the column.
    pub(crate) fn read(
        &self,
        json: &[u8],
        path: Option<&str>,
        stamp: impl FnOnce() -> i64,
    ) -> Result<Record, Reject> {
        let key = path.map(|path| key::parse(&self.target, path)).transpose()?;
        let version = if self.is_stamped() { Version::Stamped(stamp()) } else { Version::Given };
        json::read(&self.target, json, key.as_deref(), version)
    }

    /// Reads a row out of a buffer. `accepted_at_ms` is the version of one that bears none, if the
    /// table is stamped.
    ///
    /// # Errors
    /// A [`Reject`] naming the column.
    pub(crate) fn read_event(
        &self,
        event: &model::Event,
        accepted_at_ms: model::clock::EpochMs,
    ) -> Result<Record, Reject> {
        let version = match self.is_stamped() {
            true => Version::GivenOr(accepted_at_ms.saturating_mul(1_000)),
            false => Version::Given,
        };
        json::read(&self.target, event.payload(), None, version)
    }

    /// The key of the row in `event`, as paths of requests have it. Of an event that is no row, its
    /// own key.
    #[must_use]
    pub fn row_key(&self, event: &model::Event) -> String {
        match json::read_key(&self.target, event.payload()) {
            Some(key) => key::show(&key),
            None => String::from_utf8_lossy(event.key()).into_owned(),
        }
    }

    /// The values of a key as the path of a request has them.
    pub(crate) fn read_key(&self, path: &str) -> Result<Vec<Value>, Reject> {
        key::parse(&self.target, path)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use store::tables::{Column, Name, Type};

    use super::*;

    /// `sku` text, `shop` bigint (both the key), `price` numeric?, `at` timestamptz (the version).
    pub(crate) fn prices() -> Definition {
        let column =
            |name: &str, kind, nullable| Column { name: Name::new(name).unwrap(), kind, nullable };
        let target = Target {
            schema: None,
            table: Name::new("prices").unwrap(),
            columns: vec![
                column("sku", Type::Text, false),
                column("shop", Type::Bigint, false),
                column("price", Type::Numeric, true),
                column("version", Type::Bigint, false),
            ],
            keys: vec![1, 0],
            mode: Mode::Upsert { version: 3, stamped: false },
        };
        Definition { name: "prices".into(), target }
    }

    /// The same, stamped.
    pub(crate) fn stamped() -> Definition {
        let mut definition = prices();
        definition.target.mode = Mode::Upsert { version: 3, stamped: true };
        definition
    }

    #[test]
    fn a_name_is_short_and_plain() {
        let check = |name: &str| Definition { name: name.into(), ..prices() }.check();
        for name in ["prices", "2026_prices", "a-b", &"n".repeat(63)] {
            check(name).unwrap();
        }
        for name in ["", "-a", "_a", "Prices", "a/b", "a.b", "é", &"n".repeat(64)] {
            check(name).unwrap_err();
        }
    }

    #[test]
    fn a_row_is_named_by_its_key_though_it_cannot_be_stored() {
        let check = |payload: &str, expect: &str| {
            let event = model::Event::new(b"id", b"own", payload.as_bytes()).unwrap();
            assert_eq!(prices().row_key(&event), expect, "{payload}");
        };
        check(r#"{"sku":"a b","shop":7,"price":null,"version":3}"#, "7,a%20b");
        check(r#"{"sku":"a","shop":7,"price":"dear","more":1}"#, "7,a");
        check(r#"{"sku":"a"}"#, "own");
        check(r#"{"sku":"a","shop":"7"}"#, "own");
        check("no row", "own");
    }
}
