//! Stores made to measure or to try, in schemas that were nobody's.

use store::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::error::{Stage, classify};
use crate::link::{self, Link};
use crate::options::Role;
use crate::{Options, migrate, tls};

/// Makes the schema, and a store in it.
///
/// # Errors
/// [`Error::Fatal`] when a schema of that name is there, whatever it holds, or the role may not make
/// one; [`Error::Unavailable`] when the server can't be reached.
pub async fn make(options: &Options) -> Result<(), Error> {
    let schema = options.check().map_err(Error::Fatal)?;
    let link = Link::open(options, Role::Migrate, tls::connector(options)?).await?;
    let sql = async |text: String| {
        let told = |error: tokio_postgres::Error| match error.code() {
            Some(&SqlState::DUPLICATE_SCHEMA) => Error::Fatal(format!(
                "the schema {schema} is there already, and what it holds may be somebody's; if it is left \
                 over, drop it, then try again"
            )),
            _ => classify(&error, Stage::Open),
        };
        let done = async { link.client.batch_execute(&text).await.map_err(told) };
        link::within(options.patience(), done).await
    };
    sql(format!("CREATE SCHEMA {schema}")).await?;
    let made = migrate(options).await;
    if made.is_err()
        // Not CASCADE: what is in it all the same would be another's, or ours after a COMMIT whose answer was
        // lost, which whoever is told of it can see.
        && let Err(error) = sql(format!("DROP SCHEMA {schema}")).await
    {
        tracing::warn!(%schema, %error, "the schema is left over; drop it");
    }
    made.map(drop)
}

/// Drops the schema that [`make`] made, with everything in it. Does nothing where there is none.
///
/// # Errors
/// [`Error::Fatal`] when the schema is not a store of ours;
/// [`Error::Unavailable`] when the server can't be reached.
pub async fn discard(options: &Options) -> Result<(), Error> {
    let schema = options.check().map_err(Error::Fatal)?;
    let link = Link::open(options, Role::Migrate, tls::connector(options)?).await?;
    let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), \
                  EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'schema_version')";
    let row = link::one(&link.client, exists, &[&schema.name() as &(dyn ToSql + Sync)]).await?;
    let (there, ours): (bool, bool) = (row.get(0), row.get(1));
    if !there {
        return Ok(());
    }
    if !ours {
        return Err(Error::Fatal(format!("{schema} holds no store; it is left as it is")));
    }
    let drop = format!("DROP SCHEMA {schema} CASCADE");
    link.client.batch_execute(&drop).await.map_err(|error| classify(&error, Stage::Open))
}
