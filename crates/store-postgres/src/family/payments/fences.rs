//! Fences of a shared buffer's shards: whose rows a batch of payments was screened against.
//!
//! ```text
//!  fence:  BEGIN; lock shards, exclusive; owner and token ◄── ours; COMMIT
//!  settle: BEGIN; lock shards, shared;    read tokens │ COPY │ COMMIT   (both of the batch's round trips)
//! ```
//!
//! The locks are advisory, one for each shard, and last as long as the transaction. So a fence is taken
//! only when no batch that relies on the former one is under way, and whoever reads histories after
//! that reads all of its rows. A transaction of a process that stands still is ended by the server
//! (`idle_in_transaction_session_timeout`), and only its own shards wait until then.

use std::fmt::Write as _;

use store::{Error, Fence, Settlement};
use tokio_postgres::SimpleQueryMessage;

use crate::error::Stage;
use crate::schema::Schema;
use crate::session::{COMMIT, Pool};
use crate::settings::BEGIN;

/// The statements, for one schema.
#[derive(Debug)]
pub(super) struct Statements {
    /// The advisory lock of shard n is this key and n.
    lock_key: i64,
    table: String,
}

impl Statements {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { lock_key: schema.lock_key("shard"), table: format!("{schema}.shard_fences") }
    }

    /// Begins a transaction in which the tokens of these shards do not change, and reads them.
    pub(super) fn begin(&self, fences: &[Fence]) -> String {
        let shards = sorted(fences.iter().map(|fence| fence.shard));
        format!(
            "{BEGIN}; {}; SELECT shard, token FROM {} WHERE shard = ANY ({})",
            self.lock("_shared", &shards),
            self.table,
            array(shards.iter().copied().map(i64::from))
        )
    }

    fn take(&self, shards: &[u32], owner: i64) -> String {
        let shards = sorted(shards.iter().copied());
        format!(
            "{BEGIN}; {}; \
             INSERT INTO {} AS known (shard, owner, token) \
             SELECT shard, {owner}, 1 FROM pg_catalog.unnest({}) AS shard \
             ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, \
                 token = known.token + (known.owner <> excluded.owner)::int \
             RETURNING shard, token; {COMMIT}",
            self.lock("", &shards),
            self.table,
            array(shards.iter().copied().map(i64::from))
        )
    }

    /// Locks in the order of the shards, so that no two transactions wait for one another.
    fn lock(&self, mode: &str, shards: &[u32]) -> String {
        let keys = shards.iter().map(|shard| self.lock_key.wrapping_add(i64::from(*shard)));
        format!(
            "SELECT pg_catalog.pg_advisory_xact_lock{mode}(key) FROM pg_catalog.unnest({}) AS key",
            array(keys)
        )
    }
}

/// Takes the fence of each of `shards` for `owner`, or keeps the one that it has.
pub(super) async fn take(
    pool: &Pool,
    statements: &Statements,
    shards: &[u32],
    owner: i64,
) -> Result<Vec<Fence>, Error> {
    let session = pool.session(Stage::Write).await?;
    // A session that is dropped on the way out is thrown away with its transaction.
    let sql = statements.take(shards, owner);
    match session.bounded(session.client().simple_query(&sql)).await {
        Ok(answer) => {
            session.keep();
            Ok(read(&answer))
        }
        // No row was sent that could be at fault.
        Err(Error::Refused(said) | Error::Rejected(said)) => Err(Error::Unavailable(said)),
        Err(error) => Err(error),
    }
}

/// The shards whose fence is not the latest any more, if any, by what [`Statements::begin`] answered.
pub(super) fn passed(fences: &[Fence], answer: &[SimpleQueryMessage]) -> Option<Settlement> {
    let latest = read(answer);
    let passed = fences.iter().filter(|fence| !latest.contains(fence));
    let passed: Vec<u32> = passed.map(|fence| fence.shard).collect();
    (!passed.is_empty()).then_some(Settlement::Fenced(passed))
}

/// Rows of a shard and its token. The rows of the locks have one column.
fn read(answer: &[SimpleQueryMessage]) -> Vec<Fence> {
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) if row.len() == 2 => Some(row),
        _ => None,
    });
    rows.filter_map(|row| {
        Some(Fence { shard: row.get(0)?.parse().ok()?, token: row.get(1)?.parse().ok()? })
    })
    .collect()
}

fn sorted(shards: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut shards: Vec<u32> = shards.collect();
    shards.sort_unstable();
    shards.dedup();
    shards
}

/// Numbers as an array in SQL.
fn array(numbers: impl Iterator<Item = i64>) -> String {
    let mut array = "'{".to_owned();
    for (index, number) in numbers.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(array, "{comma}{number}");
    }
    array + "}'::bigint[]"
}
