//! Values of a row.

use std::hash::{Hash, Hasher};

/// One row: a value for each column of its target, in the target's order.
pub type Record = Vec<Value>;

/// One value.
#[derive(Debug, Clone)]
pub enum Value {
    /// None.
    Null,
    /// See [`super::Type::Bigint`].
    Bigint(i64),
    /// See [`super::Type::Double`].
    Double(f64),
    /// See [`super::Type::Text`].
    Text(String),
    /// See [`super::Type::Bool`].
    Bool(bool),
    /// Microseconds since the Unix epoch, within [`super::MICROS_MIN`] and [`super::MICROS_MAX`].
    Timestamptz(i64),
    /// Digits with a sign and a point, or an exponent.
    Numeric(String),
    /// As it came.
    Json(String),
    /// 32 hexadecimal digits in lower case, parted by hyphens (RFC 9562, 4).
    Uuid(String),
}

/// Equal bits: the same as far as writing and reading back goes.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bigint(a), Self::Bigint(b)) | (Self::Timestamptz(a), Self::Timestamptz(b)) => {
                a == b
            }
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b))
            | (Self::Numeric(a), Self::Numeric(b))
            | (Self::Json(a), Self::Json(b))
            | (Self::Uuid(a), Self::Uuid(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bigint(number) | Self::Timestamptz(number) => number.hash(state),
            Self::Double(number) => number.to_bits().hash(state),
            Self::Bool(on) => on.hash(state),
            Self::Text(text) | Self::Numeric(text) | Self::Json(text) | Self::Uuid(text) => {
                text.hash(state);
            }
        }
    }
}
