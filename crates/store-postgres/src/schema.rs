//! The name of the schema that all of the store's tables are in.

use std::fmt;

/// PostgreSQL's bound on names.
const NAME_BYTES_MAX: usize = 63;

/// A schema that may be the store's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema(String);

impl Schema {
    /// The error says what is wrong with the name.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let later = |c: char| first(c) || c.is_ascii_digit();
        let formed = name.starts_with(first) && name.chars().all(later);
        if !formed || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "schema: must be 1 to {NAME_BYTES_MAX} of a-z, 0-9 and _, not beginning with a digit"
            ));
        }
        if name == "public" {
            return Err("schema: public is everybody's; name one of the store's own, as fds".into());
        }
        if name.starts_with("pg_") || name == "information_schema" {
            return Err(format!("schema: {name} is PostgreSQL's; name one of the store's own"));
        }
        Ok(Self(name.to_owned()))
    }

    /// As it is, for comparing with the catalog.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// The key of an advisory lock: FNV-1a over what it is for and the schema. Locks are the
    /// database's, so its name need not be in it.
    pub(crate) fn lock_key(&self, purpose: &str) -> i64 {
        let bytes = purpose.bytes().chain([0]).chain(self.0.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash.cast_signed()
    }
}

impl fmt::Display for Schema {
    /// Quoted, for SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No name that passed has a quote to be doubled.
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_and_names_that_need_quoting_are_refused() {
        for name in ["fds", "_", "a1_b", &"x".repeat(63), "publicly", "pgx", "select"] {
            assert_eq!(Schema::new(name).unwrap().to_string(), format!("\"{name}\""));
        }
        let long = "x".repeat(64);
        for name in ["", "public", "pg_catalog", "pg_", "information_schema", "1a", "Fds", &long] {
            assert!(Schema::new(name).unwrap_err().starts_with("schema: "), "{name}");
        }
        for name in ["a-b", "a b", "a\"b", "a;drop", "a.b", "ä", "a\0"] {
            assert!(Schema::new(name).unwrap_err().starts_with("schema: "), "{name}");
        }
    }

    #[test]
    fn another_purpose_or_schema_is_another_lock() {
        let (a, b) = (Schema::new("a").unwrap(), Schema::new("b").unwrap());
        assert_eq!(a.lock_key("settle"), a.lock_key("settle"));
        assert_ne!(a.lock_key("settle"), a.lock_key("migrate"));
        assert_ne!(a.lock_key("settle"), b.lock_key("settle"));
    }
}
