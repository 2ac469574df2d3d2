//! What a role that settles may do in the schema, and what it may not.

use tokio_postgres::Client;

use crate::schema::Schema;

/// Tables that a process that settles writes, and the rights it needs beside SELECT.
const WRITTEN: &[(&str, &[&str])] = &[
    ("transactions", &["INSERT"]),
    ("pipeline_completion_log", &["INSERT"]),
    ("load_history", &["INSERT", "DELETE"]),
    ("settling_term", &["UPDATE"]),
    ("rulesets", &["INSERT"]),
    ("shard_fences", &["INSERT", "UPDATE"]),
];

/// Tables through which operators pause and see a process, and the rights it needs beside SELECT.
const OPERATED: &[(&str, &[&str])] =
    &[("pipelines", &[]), ("processes", &["INSERT", "UPDATE", "DELETE"])];

/// The rights to settle that the role of this connection lacks, one sentence for each table.
pub(crate) async fn lacking(
    client: &Client,
    schema: &Schema,
) -> Result<Vec<String>, tokio_postgres::Error> {
    missing(client, schema, WRITTEN, "settle").await
}

/// The rights to be paused and listed that the role of this connection lacks, one sentence for each table.
pub(super) async fn unlisted(
    client: &Client,
    schema: &Schema,
) -> Result<Vec<String>, tokio_postgres::Error> {
    missing(client, schema, OPERATED, "be paused and listed").await
}

async fn missing(
    client: &Client,
    schema: &Schema,
    tables: &[(&str, &[&str])],
    what: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut found = Vec::new();
    for (table, needed) in tables {
        let table = format!("{schema}.{table}");
        let asked = "SELECT wanted.name FROM pg_catalog.unnest($2::text[]) AS wanted (name) \
            WHERE NOT pg_catalog.has_table_privilege($1, wanted.name)";
        let needed: Vec<&str> = ["SELECT"].iter().chain(needed.iter()).copied().collect();
        let lacking = client.query(asked, &[&table, &needed]).await?;
        let lacking: Vec<&str> = lacking.iter().map(|row| row.get(0)).collect();
        if !lacking.is_empty() {
            let lacking = lacking.join(", ");
            found.push(format!("cannot {what}: the role has no {lacking} on {table}; grant it"));
        }
    }
    Ok(found)
}
