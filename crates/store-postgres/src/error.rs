//! Which of PostgreSQL's failures is whose fault.
//!
//! What a message may hold is a server's own sentence with its SQLSTATE, and names of columns and
//! constraints. A server's DETAIL is left out: it repeats rows, and rows hold card numbers.

use std::error::Error as _;
use std::fmt::Display;
use std::io;
use std::io::ErrorKind::{InvalidData, InvalidInput};

use store::Error;
use tokio_postgres::error::DbError;

/// The SQLSTATE of a password that is not the role's.
const WRONG_PASSWORD: &str = "28P01";

/// When something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// At the start, before anything was accepted: who starts it is there to mend what is wrong.
    Open,
    /// While rows are being written.
    Write,
    /// While something is looked up.
    Read,
}

/// Adds which store it is to an error.
pub(crate) fn at(shown: impl Display, error: Error) -> Error {
    match error {
        Error::Unavailable(text) => Error::Unavailable(format!("{shown}: {text}")),
        Error::Refused(text) => Error::Refused(format!("{shown}: {text}")),
        Error::Rejected(text) => Error::Rejected(format!("{shown}: {text}")),
        Error::Fatal(text) => Error::Fatal(format!("{shown}: {text}")),
    }
}

/// Sorts a failure.
///
/// Once the store runs, a failure that no row can cause is an outage, a wrong password included:
/// passwords are rotated, and a database comes back with a backup. To stop for that would turn an
/// outage of the database into one that needs a hand here as well, and nothing is lost by waiting:
/// the buffer holds what was accepted.
///
/// Any other failure of a write may be a row's fault or concern every row. A trigger may raise any
/// SQLSTATE, a policy may refuse one row (42501) as a revoked right refuses all. The server does not
/// say which, so the caller finds out.
pub(crate) fn classify(error: &tokio_postgres::Error, stage: Stage) -> Error {
    let mut said = text(error);
    let Some(db) = error.as_db_error() else {
        if lacks_password(error) {
            said = format!("{said}; {}", remedy(WRONG_PASSWORD));
        }
        return if stage == Stage::Open && is_set_up_wrong(error) {
            Error::Fatal(said)
        } else {
            Error::Unavailable(said)
        };
    };
    let code = db.code().code();
    if db.message().contains("unsupported startup parameter") {
        said = format!("{said}; set ignore_startup_parameters = options in pgbouncer");
        return if stage == Stage::Open { Error::Fatal(said) } else { Error::Unavailable(said) };
    }
    match class(code) {
        // Pages that can't be trusted stay so.
        _ if matches!(code, "XX001" | "XX002") => {
            Error::Fatal(format!("{said}; restore the database from a backup"))
        }
        // What a wait mends is no row's fault: a lost link, a conflict with another transaction, too
        // few resources, an operator's act; a lock that another session holds; a server that takes
        // no writes; a login.
        "08" | "40" | "53" | "57" | "28" | "3D" => unavailable(code, said, stage),
        _ if matches!(code, "55P03" | "25006") => Error::Unavailable(said),
        _ if stage == Stage::Write => Error::Refused(match remedy_of_table(code) {
            Some(remedy) => format!("{said}; {remedy}"),
            None => said,
        }),
        "3F" | "42" | "0A" => unavailable(code, said, stage),
        _ => Error::Unavailable(said),
    }
}

/// An outage; at the start, an error that an operator has to correct.
fn unavailable(code: &str, said: String, stage: Stage) -> Error {
    match class(code) {
        "28" | "3D" | "3F" | "42" | "0A" if stage == Stage::Open => {
            Error::Fatal(format!("{said}; {}", remedy(code)))
        }
        "28" | "3D" | "3F" | "42" => Error::Unavailable(format!("{said}; {}", remedy(code))),
        _ => Error::Unavailable(said),
    }
}

/// What mends a refusal that may concern the whole table.
fn remedy_of_table(code: &str) -> Option<&'static str> {
    match code {
        "42501" => Some(
            "grant this role the right, or mend the policy or the trigger that refuses the row",
        ),
        "42P01" | "42703" | "3F000" => Some(remedy(code)),
        _ => None,
    }
}

/// Whether the link, or the server behind it, is gone: other links to it are then no better.
pub(crate) fn is_link(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        // 57P01 to 57P03: the server ends, ended, or is not there yet.
        Some(db) => class(db.code().code()) == "08" || db.code().code().starts_with("57P"),
        None => true,
    }
}

/// Whether the cause may lie in the session itself, as a statement that was prepared before the
/// table was changed does. A new session may do better.
pub(crate) fn is_of_session(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map_or("", |code| class(code.code()));
    matches!(code, "0A" | "24" | "25" | "26" | "34" | "3B" | "42" | "XX")
}

/// The failure in words: what it is, and what it comes from.
pub(crate) fn text(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return of_server(db);
    }
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !said.ends_with(&words) {
            said = format!("{said}: {words}");
        }
        cause = deeper.source();
    }
    said
}

fn of_server(db: &DbError) -> String {
    let mut said = format!("{} [SQLSTATE {}", db.message(), db.code().code());
    for (what, name) in [("constraint", db.constraint()), ("column", db.column())] {
        if let Some(name) = name {
            said = format!("{said}, {what} {name}");
        }
    }
    said.push(']');
    said
}

fn class(code: &str) -> &str {
    code.get(..2).unwrap_or("")
}

fn remedy(code: &str) -> &'static str {
    match code {
        WRONG_PASSWORD => "give the right password (POSTGRES_PASSWORD, or in the URL)",
        "3D000" => "create the database, or name another one",
        "42501" => "grant this role the rights it needs on the schema and its tables",
        "42P01" | "42703" | "3F000" => {
            "the schema is not as this program made it: restore it, or run `forebay store migrate`"
        }
        code if class(code) == "28" => {
            "let this role log in from here (pg_hba.conf), or name another"
        }
        _ => "the server does not know what this program needs; PostgreSQL 12 or later is needed",
    }
}

/// Whether the server asked for a password and there was none to give: the library says so itself,
/// and no SQLSTATE comes with it.
fn lacks_password(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|cause| cause.to_string() == "password missing")
}

/// Whether connecting failed for what was configured here, rather than for what is down.
fn is_set_up_wrong(error: &tokio_postgres::Error) -> bool {
    // The library does not tell kinds apart in any other way.
    match error.to_string().as_str() {
        "invalid configuration" | "authentication error" => true,
        // A server that went away in the middle is an I/O error here too, of another kind.
        "error performing TLS handshake" => match error.source() {
            Some(cause) => cause
                .downcast_ref::<io::Error>()
                .is_none_or(|cause| matches!(cause.kind(), InvalidData | InvalidInput)),
            None => true,
        },
        _ => false,
    }
}
