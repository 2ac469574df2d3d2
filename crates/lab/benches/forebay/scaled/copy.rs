//! The ceiling: the rows that were settled, copied once more into a table with the same columns and
//! indexes, from memory, in one transaction.

use std::pin::pin;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use testbed::Postgres;
use tokio_postgres::NoTls;

/// Seconds the copy takes, commit included.
pub(super) async fn again(postgres: &Postgres) -> Result<f64> {
    let (client, connection) = tokio_postgres::connect(&postgres.url(), NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(
            "CREATE SCHEMA bare; \
             CREATE TABLE bare.transactions (LIKE fds.transactions INCLUDING ALL);",
        )
        .await?;
    // The identity column counts by itself, there as here.
    let columns: String = client
        .query_one(
            "SELECT string_agg(quote_ident(column_name), ',' ORDER BY ordinal_position) \
             FROM information_schema.columns \
             WHERE table_schema = 'fds' AND table_name = 'transactions' AND column_name <> 'id'",
            &[],
        )
        .await?
        .get(0);
    let out = format!("COPY (SELECT {columns} FROM fds.transactions ORDER BY id) TO STDOUT BINARY");
    let rows: Vec<Bytes> = client.copy_out(&out).await?.try_collect().await?;
    // As we copy: pieces of some size, not one for each row.
    let pieces: Vec<Bytes> = rows.chunks(256).map(|some| Bytes::from(some.concat())).collect();
    client.batch_execute("CHECKPOINT").await?;

    let started = Instant::now();
    let copy = format!("COPY bare.transactions ({columns}) FROM STDIN BINARY");
    let mut sink = pin!(client.copy_in(&copy).await?);
    for piece in pieces {
        sink.feed(piece).await?;
    }
    let copied = sink.finish().await?;
    let seconds = started.elapsed().as_secs_f64();
    let settled: i64 = client.query_one("SELECT count(*) FROM fds.transactions", &[]).await?.get(0);
    ensure!(i64::try_from(copied)? == settled, "{copied} of {settled} rows were copied");
    client.batch_execute("DROP SCHEMA bare CASCADE").await?;
    Ok(seconds)
}
