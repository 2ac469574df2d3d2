//! What may be wrong with a store that can be read.

use tokio_postgres::Client;

use crate::schema::Schema;

/// Indexes without which the store is wrong or slow.
const INDEXES: &[&str] = &[
    "transactions_pkey",
    "transactions_tx_id_key",
    "idx_fds_transactions_created_at",
    "idx_fds_transactions_card_number",
    "idx_fds_transactions_is_fraud",
    "idx_fds_transactions_card_history",
];
/// Settings that have to be on, or a crash of the server loses or damages what was committed.
const DURABILITY: &[&str] = &["fsync", "full_page_writes"];

pub(super) async fn problems(
    client: &Client,
    schema: &Schema,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut found = Vec::new();
    for setting in DURABILITY {
        let value: String =
            client.query_one("SELECT current_setting($1)", &[setting]).await?.get(0);
        if value != "on" {
            found.push(format!(
                "{setting} is {value} on the server: a crash of it may lose what was settled; set it on"
            ));
        }
    }
    indexes(client, schema, &mut found).await?;
    table(client, schema, &mut found).await?;
    rows(client, schema, &mut found).await?;
    Ok(found)
}

async fn indexes(
    client: &Client,
    schema: &Schema,
    found: &mut Vec<String>,
) -> Result<(), tokio_postgres::Error> {
    let sql = "SELECT wanted.name, i.indisvalid AND i.indisready AND i.indislive AS sound \
        FROM unnest($2::text[]) AS wanted (name) \
        LEFT JOIN (pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                   JOIN pg_index AS i ON i.indexrelid = c.oid) \
            ON c.relname = wanted.name AND n.nspname = $1 \
        ORDER BY wanted.name";
    for row in client.query(sql, &[&schema.name(), &INDEXES]).await? {
        let (name, sound): (&str, Option<bool>) = (row.get(0), row.get(1));
        match sound {
            Some(true) => {}
            Some(false) => found.push(format!("index {name} is not valid; REINDEX it")),
            None => found.push(format!("index {name} is not there; make it again")),
        }
    }
    Ok(())
}

async fn table(
    client: &Client,
    schema: &Schema,
    found: &mut Vec<String>,
) -> Result<(), tokio_postgres::Error> {
    let sql = "SELECT c.relpersistence = 'p' FROM pg_class AS c \
        JOIN pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = 'transactions'";
    let logged: Option<bool> =
        client.query_opt(sql, &[&schema.name()]).await?.map(|row| row.get(0));
    if logged == Some(false) {
        found.push(
            "table transactions is unlogged: a crash of the server empties it; ALTER TABLE … SET LOGGED"
                .into(),
        );
    }
    // Settling needs no right to read the sequence.
    let sql = "SELECT pg_catalog.has_sequence_privilege($1, 'SELECT')";
    let sequence = format!("{schema}.transactions_id_seq");
    if !client.query_one(sql, &[&sequence]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    // A sequence can't be read as of a snapshot: it may be ahead of the rows, never behind them.
    let sql = format!(
        "SELECT (SELECT max(id) FROM {schema}.transactions) > s.last_value \
         FROM {schema}.transactions_id_seq AS s"
    );
    let behind: Option<bool> = client.query_one(&sql, &[]).await?.get(0);
    if behind == Some(true) {
        found.push(
            "the sequence behind transactions.id is behind the table: set it past max(id)".into(),
        );
    }
    Ok(())
}

async fn rows(
    client: &Client,
    schema: &Schema,
    found: &mut Vec<String>,
) -> Result<(), tokio_postgres::Error> {
    client
        .batch_execute(
            "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; \
             SET LOCAL enable_bitmapscan = off",
        )
        .await?;
    let sql = format!(
        "SELECT count(*) - count(DISTINCT tx_id), \
                count(*) FILTER (WHERE is_fraud <> (cardinality(fraud_rules) > 0)), \
                count(*) FILTER (WHERE processed_at IS NULL) \
         FROM {schema}.transactions"
    );
    let row = client.query_one(&sql, &[]).await?;
    let (repeated, flags, unstamped): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    if repeated != 0 {
        found.push(format!("{repeated} payments are there more than once"));
    }
    if flags != 0 {
        found.push(format!("{flags} payments have is_fraud set otherwise than fraud_rules say"));
    }
    if unstamped != 0 {
        found.push(format!("{unstamped} payments were not settled by this program"));
    }
    Ok(())
}
