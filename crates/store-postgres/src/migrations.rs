//! The schema, and how an older one gets to it.
//!
//! Which version a schema has is in its table `schema_version`, one row for each migration that ran;
//! a schema that holds tables of ours and no such table is somebody else's, and is refused. All
//! migrations run in one transaction, one process at a time. There is no way back: a schema of a
//! newer version is refused.

use std::time::Duration;

use store::Error;
use tokio_postgres::Client;

use crate::error::{Stage, at, classify};
use crate::link::{self, Link};
use crate::options::Role;
use crate::schema::Schema;
use crate::{Options, tls};

/// The migration at index n leads from version n to version n + 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/V1__initial.sql"),
    include_str!("../migrations/V2__load_history.sql"),
    include_str!("../migrations/V3__moves.sql"),
    include_str!("../migrations/V4__move_identities.sql"),
    include_str!("../migrations/V5__shard_fences.sql"),
    include_str!("../migrations/V6__rulesets.sql"),
    include_str!("../migrations/V7__empty_places.sql"),
    include_str!("../migrations/V8__moves_by_pipeline.sql"),
    include_str!("../migrations/V9__pipelines_processes.sql"),
];
/// PostgreSQL 12: `INCLUDE` in indexes and `tcp_user_timeout` are there.
const SERVER_VERSION_MIN: i32 = 120_000;
/// How long all migrations together may take.
const MIGRATION_MAX: Duration = Duration::from_secs(3_600);
/// Tables that a schema of ours has, whichever its version.
const TABLES: &[&str] = &[
    "transactions",
    "daily_transaction_summary",
    "pipeline_completion_log",
    "sla_definitions",
    "sla_violations",
    "settling_term",
    "load_history",
    "buffer_moves",
    "buffer_move_processes",
    "buffers_left",
    "shard_fences",
    "rulesets",
    "pipelines",
    "processes",
];

/// What a migration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 where there was no schema.
    pub from: u32,
    /// The version now.
    pub to: u32,
}

/// Brings the schema to the version this program knows, and makes it where it is missing. Several
/// at once are one after the other. [`Options::create`] is passed over.
///
/// # Errors
/// [`Error::Fatal`] when the schema is another program's or of a newer version, or the role may not
/// change it; [`Error::Unavailable`] when the server can't be reached, or something holds a lock for
/// longer than [`Options::statement_timeout_ms`].
pub async fn migrate(options: &Options) -> Result<Migrated, Error> {
    let migrated = async {
        let schema = options.check().map_err(Error::Fatal)?;
        run(options, &schema, tls::connector(options)?).await
    };
    migrated.await.map_err(|error| at(options, error))
}

pub(crate) async fn run(
    options: &Options,
    schema: &Schema,
    tls: tls::Connector,
) -> Result<Migrated, Error> {
    let link = Link::open(options, Role::Migrate, tls).await?;
    let from = link::within(options.patience(), begun(&link.client, schema)).await?;
    let migrated = link::within(MIGRATION_MAX, apply(&link.client, schema, from)).await?;
    if migrated.from != migrated.to {
        tracing::info!(%schema, from = migrated.from, to = migrated.to, "the schema is changed");
    }
    Ok(migrated)
}

/// Refuses a schema that is not the one this program knows, without changing it.
pub(crate) async fn check(
    options: &Options,
    schema: &Schema,
    tls: tls::Connector,
) -> Result<(), Error> {
    let link = Link::open(options, Role::Work, tls).await?;
    let bound = options.patience();
    link::within(bound, checked(&link.client, schema)).await
}

/// As [`check`], on a connection that is there.
pub(crate) async fn checked(client: &Client, schema: &Schema) -> Result<(), Error> {
    fit(client).await?;
    match version(client, schema).await? {
        version if version == MIGRATIONS.len() => Ok(()),
        0 => Err(Error::Fatal("there is no store in it; run `forebay store migrate`".into())),
        version => Err(Error::Fatal(format!(
            "its schema has version {version} and this program needs {}; run `forebay store migrate`",
            MIGRATIONS.len()
        ))),
    }
}

/// Begins the transaction, alone among those that migrate; the version as it is then.
async fn begun(client: &Client, schema: &Schema) -> Result<usize, Error> {
    fit(client).await?;
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({})", schema.lock_key("migrate"));
    client.batch_execute(&lock).await.map_err(|error| classify(&error, Stage::Open))?;
    version(client, schema).await
}

/// Runs what is missing, and ends the transaction.
async fn apply(client: &Client, schema: &Schema, from: usize) -> Result<Migrated, Error> {
    let sql = async |text: &str| {
        client.batch_execute(text).await.map_err(|error| classify(&error, Stage::Open))
    };
    let to = MIGRATIONS.len();
    if from < to {
        if !exists(client, schema).await? {
            // `IF NOT EXISTS` would ask for the right to make schemas even where there is one.
            sql(&format!("CREATE SCHEMA {schema}")).await?;
        }
        sql(&format!(
            "SET LOCAL search_path = {schema}; \
             CREATE TABLE IF NOT EXISTS schema_version ( \
                 version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
        ))
        .await?;
        for (migration, version) in MIGRATIONS.iter().zip(1_u32..).skip(from) {
            let record = format!("INSERT INTO schema_version (version) VALUES ({version})");
            sql(migration).await.map_err(|error| about(version, error))?;
            sql(&record).await.map_err(|error| about(version, error))?;
        }
    }
    sql("COMMIT").await?;
    let number = |version: usize| u32::try_from(version).expect("migrations are few");
    Ok(Migrated { from: number(from), to: number(to) })
}

fn about(version: u32, error: Error) -> Error {
    let text = |text: String| format!("the schema can't be brought to version {version}: {text}");
    match error {
        Error::Unavailable(said) => Error::Unavailable(text(said)),
        Error::Refused(said) | Error::Rejected(said) | Error::Fatal(said) => {
            Error::Fatal(text(said))
        }
    }
}

/// Refuses a server or a database that can't hold a store.
async fn fit(client: &Client) -> Result<(), Error> {
    let sql =
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')";
    let row = link::one(client, sql, &[]).await?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < SERVER_VERSION_MIN {
        return Err(Error::Fatal(format!(
            "the server is version {}; PostgreSQL 12 or later is needed",
            version / 10_000
        )));
    }
    if encoding != "UTF8" {
        return Err(Error::Fatal(format!(
            "the database keeps text as {encoding}; name one made with ENCODING 'UTF8'"
        )));
    }
    Ok(())
}

async fn exists(client: &Client, schema: &Schema) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    Ok(link::one(client, sql, &[&schema.name()]).await?.get(0))
}

/// The version of a schema that is ours or blank, and not newer than this program.
async fn version(client: &Client, schema: &Schema) -> Result<usize, Error> {
    let name = schema.name();
    let ours = "SELECT EXISTS ( \
        SELECT FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid \
        JOIN pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = 'schema_version' AND c.relkind = 'r' \
        AND a.attname = 'version' AND a.atttypid = 'int4'::regtype)";
    let ours: bool = link::one(client, ours, &[&name]).await?.get(0);
    let taken = "SELECT min(c.relname::text) FROM pg_class AS c \
        JOIN pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = ANY($2)";
    if !ours {
        let names: Vec<&str> = TABLES.iter().copied().chain(["schema_version"]).collect();
        let taken: Option<String> = link::one(client, taken, &[&name, &names]).await?.get(0);
        return match taken {
            None => Ok(0),
            Some(table) => Err(Error::Fatal(format!(
                "schema {name} holds a table {table} that is not this program's; \
                 name another schema for the store (schema=…)"
            ))),
        };
    }
    let highest = format!("SELECT coalesce(max(version), 0) FROM {schema}.schema_version");
    let version: i32 = link::one(client, &highest, &[]).await?.get(0);
    let known = MIGRATIONS.len();
    usize::try_from(version).ok().filter(|version| *version <= known).ok_or_else(|| {
        Error::Fatal(format!(
            "its schema has version {version} and this program knows up to {known}; \
             use the newer program that made it"
        ))
    })
}
