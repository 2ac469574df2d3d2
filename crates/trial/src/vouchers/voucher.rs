//! A voucher, and the table of those that are paid.

use model::Event;
use model::clock::EpochMs;
use serde::Deserialize;
use server::{Bad, Reads};
use store::Target;
use store::tables::{Column, Mode, Name, Record, Type, Value};

/// `{"id":"v1","member":"ann","key":"a","amount":3}`. Those of one key are paid in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Voucher {
    pub(super) id: String,
    member: String,
    key: String,
    amount: i64,
}

impl Voucher {
    pub(super) fn read(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// In the order of the columns.
    pub(super) fn row(self) -> Record {
        vec![Value::Text(self.id), Value::Text(self.member), Value::Bigint(self.amount)]
    }
}

/// One row for each voucher that is paid.
pub(super) fn target() -> Target {
    let name = |name: &str| Name::new(name).expect("it is short and plain");
    let column = |of: &str, kind| Column { name: name(of), kind, nullable: false };
    Target {
        schema: None,
        table: name("vouchers"),
        columns: vec![
            column("id", Type::Text),
            column("member", Type::Text),
            column("amount", Type::Bigint),
        ],
        keys: vec![0],
        mode: Mode::Insert,
    }
}

/// Makes events of what is posted.
pub(super) struct Posted;

impl Reads for Posted {
    fn read(&self, json: &[u8], _: Option<&str>, _: EpochMs) -> Result<Event, Bad> {
        let bad = |problem: String| Bad { field: "voucher".into(), problem };
        // What serde says repeats values.
        let voucher = Voucher::read(json).map_err(|_| bad("must be a voucher".to_owned()))?;
        Event::new(voucher.id.as_bytes(), voucher.key.as_bytes(), json)
            .map_err(|error| bad(error.to_string()))
    }

    fn is_vital(&self) -> bool {
        false
    }
}
