//! A ticket, and the table that it is written into.

use serde::Deserialize;
use store::Target;
use store::tables::{Column, Mode, Name, Record, Type, Value};

/// `{"id":"t1","holder":"ann","amount":3}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) holder: String,
    pub(crate) amount: i64,
}

impl Ticket {
    pub(crate) fn read(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// In the order of the columns.
    pub(crate) fn row(self) -> Record {
        vec![Value::Text(self.id), Value::Text(self.holder), Value::Bigint(self.amount)]
    }
}

/// One row for each ticket: the row is the effect and the mark that it was applied.
pub(crate) fn target() -> Target {
    let name = |name: &str| Name::new(name).expect("it is short and plain");
    let column = |of: &str, kind| Column { name: name(of), kind, nullable: false };
    Target {
        schema: None,
        table: name("tickets"),
        columns: vec![
            column("id", Type::Text),
            column("holder", Type::Text),
            column("amount", Type::Bigint),
        ],
        keys: vec![0],
        mode: Mode::Insert,
    }
}
