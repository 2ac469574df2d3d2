//! Values as PostgreSQL has them.
//!
//! What PostgreSQL's driver knows is sent as itself, everything else as text that the statement
//! casts. The cast into the column itself is an assignment: a `bigint` goes into an `integer` if it
//! fits, a `text` into a `varchar(10)` if it is no longer, and is refused otherwise.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use store::Target;
use store::tables::{MICROS_MAX, MICROS_MIN, Record, Type, Value};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type as Sql, accepts, to_sql_checked};

/// 2000-01-01T00:00:00Z, in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// All values of one column.
pub(super) type Array = Box<dyn ToSql + Sync + Send>;

/// The type a value travels in, both ways.
pub(super) const fn sent(kind: Type) -> &'static str {
    match kind {
        Type::Bigint => "int8",
        Type::Double => "float8",
        Type::Bool => "bool",
        Type::Timestamptz => "timestamptz",
        Type::Text | Type::Numeric | Type::Json | Type::Uuid => "text",
    }
}

/// The type that an array of such values travels in.
pub(super) const fn sent_array(kind: Type) -> Sql {
    match kind {
        Type::Bigint => Sql::INT8_ARRAY,
        Type::Double => Sql::FLOAT8_ARRAY,
        Type::Bool => Sql::BOOL_ARRAY,
        Type::Timestamptz => Sql::TIMESTAMPTZ_ARRAY,
        Type::Text | Type::Numeric | Type::Json | Type::Uuid => Sql::TEXT_ARRAY,
    }
}

/// What has travelled as text, as what it is.
pub(super) fn cast(expression: &str, kind: Type) -> String {
    match kind {
        Type::Numeric => format!("{expression}::numeric"),
        Type::Json => format!("{expression}::json"),
        Type::Uuid => format!("{expression}::uuid"),
        _ => expression.to_owned(),
    }
}

/// The columns' types in the catalog that take a value of `kind`.
pub(super) const fn taken_by(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Bigint => &["int8", "int4", "int2"],
        Type::Double => &["float8"],
        Type::Text => &["text", "varchar"],
        Type::Bool => &["bool"],
        Type::Timestamptz => &["timestamptz"],
        Type::Numeric => &["numeric"],
        Type::Json => &["jsonb", "json"],
        Type::Uuid => &["uuid"],
    }
}

/// The statement that makes the table.
pub(super) fn definition(target: &Target) -> String {
    let column = |column: &store::tables::Column| {
        let kind = match column.kind {
            Type::Bigint => "bigint",
            Type::Double => "double precision",
            Type::Text => "text",
            Type::Bool => "boolean",
            Type::Timestamptz => "timestamptz",
            Type::Numeric => "numeric",
            Type::Json => "jsonb",
            Type::Uuid => "uuid",
        };
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {kind}{null}", column.name.quoted())
    };
    let columns: Vec<_> = target.columns.iter().map(column).collect();
    let (name, keys) = (target.quoted(), target.quoted_keys());
    format!("CREATE TABLE {name} ({}, PRIMARY KEY ({keys}))", columns.join(", "))
}

/// One array for each of `columns`.
pub(super) fn arrays(target: &Target, columns: &[usize], rows: &[&Record]) -> Vec<Array> {
    columns.iter().map(|&column| array(target.columns[column].kind, column, rows)).collect()
}

fn array(kind: Type, column: usize, rows: &[&Record]) -> Array {
    fn of<T: ToSql + Sync + Send + 'static>(
        rows: &[&Record],
        column: usize,
        take: impl Fn(&Value) -> Option<T>,
    ) -> Array {
        Box::new(rows.iter().map(|row| take(&row[column])).collect::<Vec<Option<T>>>())
    }
    match kind {
        Type::Bigint => of(rows, column, |value| match value {
            Value::Bigint(number) => Some(*number),
            _ => None,
        }),
        Type::Double => of(rows, column, |value| match value {
            Value::Double(number) => Some(*number),
            _ => None,
        }),
        Type::Bool => of(rows, column, |value| match value {
            Value::Bool(on) => Some(*on),
            _ => None,
        }),
        Type::Timestamptz => of(rows, column, |value| match value {
            Value::Timestamptz(micros) => Some(Micros(*micros)),
            _ => None,
        }),
        Type::Text | Type::Numeric | Type::Json | Type::Uuid => {
            of(rows, column, |value| words(value).map(str::to_owned))
        }
    }
}

fn words(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Numeric(text) | Value::Json(text) | Value::Uuid(text) => {
            Some(text)
        }
        _ => None,
    }
}

/// One value as a parameter.
#[derive(Debug)]
pub(super) struct One<'a>(pub(super) &'a Value);

impl ToSql for One<'_> {
    fn to_sql(
        &self,
        kind: &Sql,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Bigint(number) => number.to_sql(kind, out),
            Value::Double(number) => number.to_sql(kind, out),
            Value::Bool(on) => on.to_sql(kind, out),
            Value::Timestamptz(micros) => Micros(*micros).to_sql(kind, out),
            text => words(text).to_sql(kind, out),
        }
    }

    fn accepts(_: &Sql) -> bool {
        // The statement says which type it is, from the same target as the value.
        true
    }

    to_sql_checked!();
}

/// The values of `row`, whose columns are of `kinds`.
pub(super) fn record(row: &Row, kinds: &[Type]) -> Result<Record, tokio_postgres::Error> {
    let value = |(at, &kind): (usize, &Type)| -> Result<Value, tokio_postgres::Error> {
        let value = match kind {
            Type::Bigint => row.try_get::<_, Option<_>>(at)?.map(Value::Bigint),
            Type::Double => row.try_get::<_, Option<_>>(at)?.map(Value::Double),
            Type::Bool => row.try_get::<_, Option<_>>(at)?.map(Value::Bool),
            Type::Timestamptz => row
                .try_get::<_, Option<Micros>>(at)?
                .map(|Micros(micros)| Value::Timestamptz(micros)),
            Type::Text => row.try_get::<_, Option<_>>(at)?.map(Value::Text),
            Type::Numeric => row.try_get::<_, Option<_>>(at)?.map(Value::Numeric),
            Type::Json => row.try_get::<_, Option<_>>(at)?.map(Value::Json),
            Type::Uuid => row.try_get::<_, Option<_>>(at)?.map(Value::Uuid),
        };
        Ok(value.unwrap_or(Value::Null))
    };
    kinds.iter().enumerate().map(value).collect()
}

/// A `timestamptz`, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Micros(i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Sql, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_MICROS);
        // Both infinities are at the ends of the type, and are no time.
        (MICROS_MIN..=MICROS_MAX)
            .contains(&micros)
            .then_some(Self(micros))
            .ok_or_else(|| "a time is outside the years 1 to 9999".into())
    }

    accepts!(TIMESTAMPTZ);
}

impl ToSql for Micros {
    fn to_sql(&self, _: &Sql, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0.saturating_sub(EPOCH_MICROS));
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}
