//! Names in somebody else's schema, and the one way they get into SQL.

use std::fmt;

/// The longest name, in bytes: PostgreSQL's bound, past which it would cut a name short and mean
/// another one.
pub const NAME_BYTES_MAX: usize = 63;

/// The name of a schema, a table or a column, as it is: any characters but NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// Takes `name` as it is written, upper and lower case included.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: &str) -> Result<Self, String> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let bytes = name.len();
            return Err(format!("is {bytes} bytes; a name is 1 to {NAME_BYTES_MAX}"));
        }
        if name.contains('\0') {
            return Err("holds a NUL, which no name may".to_owned());
        }
        Ok(Self(name.to_owned()))
    }

    /// As it is, for comparing and for people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands in SQL: a delimited identifier (SQL-92, 5.2), quotes inside it doubled. Nothing
    /// else ever puts a name into a statement.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        let check = |name: &str, expect: &str| {
            assert_eq!(Name::new(name).unwrap().quoted(), expect);
        };
        check("price", "\"price\"");
        check("Order", "\"Order\"");
        check("a\"b", "\"a\"\"b\"");
        check("\"", "\"\"\"\"");
        check("x\"; DROP TABLE users; --", "\"x\"\"; DROP TABLE users; --\"");
        check("값 1", "\"값 1\"");
    }

    #[test]
    fn names_out_of_bounds_and_nul_are_refused() {
        assert!(Name::new(&"n".repeat(NAME_BYTES_MAX)).is_ok());
        for name in [String::new(), "n".repeat(NAME_BYTES_MAX + 1), "a\0b".to_owned()] {
            Name::new(&name).unwrap_err();
        }
    }
}
