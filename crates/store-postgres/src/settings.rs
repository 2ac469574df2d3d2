//! What a session is set to: asked, never assumed.
//!
//! A connection asks for its settings as it begins. A pooler may drop them (`ignore_startup_parameters`
//! of pgbouncer), and then the defaults of the role and the database hold, `synchronous_commit = off`
//! among them. So each new session is asked, and set where it answers otherwise. What makes a commit
//! durable is set again in each transaction that settles: see [`BEGIN`].

use std::fmt::Write as _;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::error::text;

/// Begins a transaction that writes what was accepted. It costs no round trip of its own: it is sent
/// in front of the rows.
pub(crate) const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on";

/// A setting of ours that only a connection sets as it begins, or [`ask`] in its place.
const MARK: &str = "forebay.session";

/// What a guarantee or a statement rests on, whatever the connection asked for.
const ASKED: &[&str] = &[
    MARK,
    "synchronous_commit",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "session_replication_role",
    "standard_conforming_strings",
    "search_path",
    "timezone",
];

/// A session's settings, in the order in which they are set.
#[derive(Debug, Clone)]
pub(crate) struct Settings(Vec<(&'static str, String)>);

/// Why a session is not as it has to be.
#[derive(Debug)]
pub(crate) enum Problem {
    Database(tokio_postgres::Error),
    /// One sentence.
    Setting(String),
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl Settings {
    pub(crate) fn new(settings: Vec<(&'static str, String)>) -> Self {
        Self([vec![(MARK, "on".to_owned())], settings].concat())
    }

    /// As a connection asks for them when it begins.
    pub(crate) fn options(&self) -> String {
        let mut options = String::new();
        for (name, value) in &self.0 {
            let value = value.replace(' ', "\\ ");
            let _ = write!(options, "-c {name}={value} ");
        }
        options
    }

    /// Asks the session what it is set to, and sets it where that is something else.
    pub(crate) async fn ask(&self, client: &Client) -> Result<(), Problem> {
        if self.wrong(client).await?.is_empty() {
            return Ok(());
        }
        let mut sql = String::new();
        for (name, value) in self.all() {
            let _ = write!(sql, "SET {name} = '{value}'; ");
        }
        let refused = client.batch_execute(&sql).await.err();
        let wrong = self.wrong(client).await?;
        if wrong.is_empty() {
            return Ok(());
        }
        let wrong = wrong.join(", ");
        let why = refused.map_or(String::new(), |error| format!(" ({})", text(&error)));
        Err(Problem::Setting(format!(
            "cannot set the session as every guarantee needs it: {wrong}{why}; set it for this role \
             with ALTER ROLE, or connect past the pooler"
        )))
    }

    /// What is set, and the defaults of PostgreSQL that a role may have changed. The latter are no part
    /// of [`Settings::options`]: only a superuser may set one of them.
    fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ours = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        ours.chain([("session_replication_role", "origin"), ("standard_conforming_strings", "on")])
    }

    /// Each setting that is not as it has to be, with what it is.
    async fn wrong(&self, client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
        let wanted: Vec<_> = self.all().filter(|(name, _)| ASKED.contains(name)).collect();
        let columns: Vec<_> = wanted
            .iter()
            .map(|(name, _)| format!("pg_catalog.current_setting('{name}', true)"))
            .collect();
        let answer = client.simple_query(&format!("SELECT {}", columns.join(", "))).await?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let is = |at| row.and_then(|row| row.get(at)).unwrap_or("not set");
        let asked = wanted.iter().enumerate();
        let wrong = asked.filter(|&(at, (_, value))| is(at) != *value);
        Ok(wrong.map(|(at, (name, value))| format!("{name} is {}, not {value}", is(at))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_in_a_value_is_kept_when_a_connection_begins() {
        let settings = vec![("default_transaction_isolation", "read committed".to_owned())];
        let expected = "-c forebay.session=on -c default_transaction_isolation=read\\ committed ";
        assert_eq!(Settings::new(settings).options(), expected);
    }
}
