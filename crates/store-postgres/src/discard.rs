//! Taking a store away again.

use store::Error;
use tokio_postgres::types::ToSql;

use crate::error::{Stage, classify};
use crate::link::{self, Link};
use crate::options::Role;
use crate::{Options, tls};

/// Drops the schema with everything in it: for stores made to measure or to try. Does nothing where
/// there is none.
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
