//! Store URLs: which backend, and where.

use model::url::{self, Url};

use crate::config::Error;
use crate::registry;

/// What is built in, as a clause.
const STORES: &str = "sqlite: and postgres: are";

/// Which store.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    Sqlite(store_sqlite::Options),
    Postgres(Box<store_postgres::Options>),
}

impl Store {
    /// What it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Reads a store URL.
    ///
    /// # Errors
    /// If the backend is not built in, or an option is unknown or out of bounds.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let url = Url::split("store", text, STORES)?;
        match url.scheme() {
            "sqlite" => Ok(sqlite(&url).map(Self::Sqlite)?),
            "postgres" | "postgresql" => {
                let options = store_postgres::Options::from_url(text);
                let options = options.map_err(|problem| Error(format!("store: {problem}")))?;
                Ok(Self::Postgres(Box::new(options)))
            }
            _ => Err(url.no_backend(STORES, registry::LATER).into()),
        }
    }
}

fn sqlite(url: &Url<'_>) -> Result<store_sqlite::Options, url::Error> {
    let mut options = store_sqlite::Options::at(url.path()?);
    for (option, text) in url.options() {
        match option {
            "busy_timeout_ms" => options.busy_timeout_ms = url.number(option, text, 1)?,
            _ => return Err(url.no_option(option, &["busy_timeout_ms"])),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_built_in_says_which_are() {
        let refused = |text: &str, expect: &str| {
            assert_eq!(Store::parse(text).unwrap_err().to_string(), expect);
        };
        let expect = "store: mysql: is not built into this version yet; sqlite: and postgres: are";
        refused("mysql://u:p@h/db", expect);
        let expect = "store: \"data.db\" names no backend; sqlite: and postgres: are built in";
        refused("data.db", expect);
        let expect = "store: cannot read the URL: its login holds an unencoded character; \
                      percent-encode it (/ is %2F, ? is %3F, @ is %40)";
        refused("postgres://app:p@ss/w0rd@h:1/shop", expect);
    }
}
