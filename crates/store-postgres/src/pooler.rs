//! Whether a connection has a session of its own.
//!
//! Behind a pooler in transaction mode two connections share sessions of the server. Then a lock that
//! belongs to a session is held by whoever comes next, a setting is another's, and a prepared
//! statement may be another process's. No server says that it is reached through one. So two
//! connections ask in turn which process serves them: each must always see the same one, and never
//! that of the other.

use store::Error;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::error::{Stage, classify};

/// How often both are asked. A pooler gives the session that was used last, or the next in turn, so
/// that the first rounds tell; more of them are for one that others use at the same time.
const ROUNDS: usize = 8;

/// Which process of the server serves a connection.
pub(crate) async fn backend(client: &Client) -> Result<String, tokio_postgres::Error> {
    let answer = client.simple_query("SELECT pg_catalog.pg_backend_pid()").await?;
    let pid = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(pid.unwrap_or_default().to_owned())
}

/// Refuses connections whose session is shared. Returns the process that serves the first one.
///
/// # Errors
/// [`Error::Fatal`] when they share sessions; otherwise what a question failed of.
pub(crate) async fn refuse(one: &Client, other: &Client) -> Result<String, Error> {
    let ask = async |client| backend(client).await.map_err(|error| classify(&error, Stage::Open));
    let (first, second) = (ask(one).await?, ask(other).await?);
    if first == second {
        return Err(shared());
    }
    for _ in 1..ROUNDS {
        if ask(one).await? != first || ask(other).await? != second {
            return Err(shared());
        }
    }
    Ok(first)
}

/// What to say of sessions that are shared.
pub(crate) fn shared() -> Error {
    Error::Fatal(
        "cannot use a pooler that shares sessions between transactions: locks, settings and prepared \
         statements belong to a session; connect to PostgreSQL itself, or set pool_mode = session \
         for this database (and ignore_startup_parameters = options in pgbouncer)"
            .into(),
    )
}
