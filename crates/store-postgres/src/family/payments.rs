//! Settling a batch: one transaction, one binary COPY.
//!
//! ```text
//!  client                                   server
//!  BEGIN; SET LOCAL …; SELECT term │ COPY ──►
//!                                     ◄──   term │ ready for rows
//!  rows … │ COMMIT                    ──►
//!                                     ◄──   rows copied │ committed
//! ```
//!
//! Two round trips for a batch of any size. A batch that holds a duplicate fails as a whole at the
//! unique index, and only then is looked up which rows it was. Copying into a staging table and
//! merging what is new from there would settle the rest at once, but it would be wrong: rows of the
//! same card behind the duplicate were screened as if it had not been there before, and have to be
//! screened again.

pub(crate) mod encode;
mod fences;
mod history;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::SinkExt;
use model::clock::EpochMs;
use store::card::Fingerprint;
use store::payments::{COMPARED, skipped};
use store::{Duplicate, Error, Fence, History, Row, Settlement};
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use crate::claim::{self, Claim};
use crate::database::Database;
use crate::error::{Stage, text};
use crate::schema::Schema;
use crate::session::{COMMIT, Pool, Session};
use crate::settings::BEGIN;

/// The unique indexes that a schema of ours has on `transactions`.
const OWN_UNIQUE: [&str; 2] = ["transactions_pkey", "transactions_tx_id_key"];

/// Payments, in the store's schema, of a process that has a claim on it.
pub(crate) struct Payments {
    database: Arc<Database>,
    claim: Arc<Claim>,
    settle: Statements,
    fences: fences::Statements,
    histories: history::Statements,
}

impl Payments {
    pub(crate) fn new(database: Arc<Database>, claim: Arc<Claim>) -> Self {
        let schema = database.schema();
        let (settle, fences) = (Statements::new(schema), fences::Statements::new(schema));
        let histories = history::Statements::new(schema);
        Self { database, claim, settle, fences, histories }
    }
}

#[async_trait]
impl store::Payments for Payments {
    async fn settle_fenced(&self, rows: Vec<Row>, fences: &[Fence]) -> Result<Settlement, Error> {
        let pool = self.database.enter().await?;
        if rows.is_empty() {
            return Ok(Settlement::Settled);
        }
        let guard = match self.claim.term()? {
            Some(term) => Guard::Term(term),
            None if fences.is_empty() => Guard::None,
            None => Guard::Fences(fences, self.fences.begin(fences)),
        };
        let began = Instant::now();
        let now_ms = self.database.now_ms();
        let settled = settle(&pool, &self.settle, &rows, now_ms, &guard).await;
        match &settled {
            Ok(Settlement::Settled) => {
                metrics::histogram!("store_commit_seconds").record(began.elapsed());
                let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
                metrics::counter!("store_rows_total").increment(count);
            }
            Ok(Settlement::Duplicates(_) | Settlement::Fenced(_)) => {}
            // The engine tells of a row that is refused alone.
            Err(Error::Refused(_)) => {}
            Err(error) => tracing::warn!(%error, "a transaction failed"),
        }
        settled
    }

    async fn fence(&self, shards: &[u32]) -> Result<Vec<Fence>, Error> {
        let pool = self.database.enter().await?;
        fences::take(&pool, &self.fences, shards, self.claim.owner()).await
    }

    async fn histories(
        &self,
        cards: &[Fingerprint],
        recent_max: usize,
    ) -> Result<Vec<History>, Error> {
        let pool = self.database.enter().await?;
        if cards.is_empty() {
            return Ok(Vec::new());
        }
        history::read(&pool, &self.histories, cards, recent_max).await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        let pool = self.database.enter().await?;
        history::is_empty(&pool, &self.histories).await
    }
}

/// The statements that settle, for one schema.
#[derive(Debug)]
struct Statements {
    begin: String,
    begin_in_term: String,
    copy: String,
    compare: String,
}

impl Statements {
    fn new(schema: &Schema) -> Self {
        Self {
            begin: BEGIN.into(),
            begin_in_term: format!(
                "{BEGIN}; SELECT pg_catalog.pg_advisory_xact_lock_shared({}); \
                 SELECT term FROM {schema}.settling_term",
                schema.lock_key("term")
            ),
            copy: format!(
                "COPY {schema}.transactions ({}) FROM STDIN (FORMAT binary)",
                encode::COLUMNS
            ),
            compare: compare(schema),
        }
    }
}

/// What a batch must find unchanged in its own transaction.
enum Guard<'f> {
    None,
    /// The term of a process that has the store for itself.
    Term(i64),
    /// Fences, and what begins a transaction that reads them.
    Fences(&'f [Fence], String),
}

/// How an attempt ended that did not commit.
enum Failure {
    Database(tokio_postgres::Error),
    /// Fences were passed: [`Settlement::Fenced`].
    Fenced(Settlement),
    /// The store is in another term than this process.
    Superseded,
    /// The server stored fewer rows than were sent, without an error, and committed.
    Skipped,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

/// Writes `rows` if the guard holds, or nothing.
async fn settle(
    pool: &Pool,
    statements: &Statements,
    rows: &[Row],
    now_ms: EpochMs,
    guard: &Guard<'_>,
) -> Result<Settlement, Error> {
    let chunks = encode::rows(rows, now_ms)?;
    let mut session = pool.session(Stage::Write).await?;
    let bound = session.bound();
    // A session that is dropped on the way out is thrown away with its transaction.
    let failure =
        match timeout(bound, copy(&mut session, statements, chunks, rows.len(), guard)).await {
            Ok(Ok(())) => {
                session.keep();
                return Ok(Settlement::Settled);
            }
            Ok(Err(failure)) => failure,
            Err(_) => return Err(session.late()),
        };
    match failure {
        Failure::Superseded => Err(claim::superseded()),
        Failure::Fenced(fenced) => {
            session.rollback().await?;
            session.keep();
            Ok(fenced)
        }
        Failure::Skipped => {
            session.keep();
            Err(Error::Rejected(skipped().into()))
        }
        Failure::Database(error) if may_be_duplicate(&error) => {
            let found = duplicates(&session, statements, rows, &error).await?;
            session.keep();
            Ok(found)
        }
        Failure::Database(error) => {
            let failed = session.failed(&error);
            if matches!(failed, Error::Refused(_) | Error::Rejected(_)) {
                session.rollback().await?;
                session.keep();
            }
            Err(failed)
        }
    }
}

/// Whether a row may be refused because its `tx_id` is there. A unique index that others added to the
/// table says nothing of that: there the row is refused.
fn may_be_duplicate(error: &tokio_postgres::Error) -> bool {
    let constraint = error.as_db_error().and_then(|error| error.constraint());
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
        && constraint.is_none_or(|name| OWN_UNIQUE.contains(&name))
}

/// The transaction.
async fn copy(
    session: &mut Session<'_>,
    statements: &Statements,
    chunks: Vec<Bytes>,
    rows: usize,
    guard: &Guard<'_>,
) -> Result<(), Failure> {
    let copy = session.client().prepare_cached(&statements.copy).await?;
    let begin = match guard {
        Guard::None => &statements.begin,
        Guard::Term(_) => &statements.begin_in_term,
        Guard::Fences(_, begin) => begin,
    };
    // Requests go out in the order in which they are first polled, which is the order named here.
    let (begun, sink) = tokio::join!(
        session.client().simple_query(begin),
        session.client().copy_in::<_, Bytes>(&copy)
    );
    let begun = begun?;
    let mut sink = pin!(sink?);
    match guard {
        Guard::None => {}
        Guard::Term(ours) => {
            let theirs = begun.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i64>().ok(),
                _ => None,
            });
            if theirs != Some(*ours) {
                return Err(Failure::Superseded);
            }
        }
        Guard::Fences(fences, _) => {
            if let Some(fenced) = fences::passed(fences, &begun) {
                return Err(Failure::Fenced(fenced));
            }
        }
    }
    for chunk in chunks {
        // A link that breaks here says why when the end is read.
        if sink.feed(chunk).await.is_err() {
            break;
        }
    }
    session.set_cancel(false);
    let (copied, committed) =
        tokio::join!(sink.as_mut().finish(), session.client().batch_execute(COMMIT));
    let copied = match copied {
        Ok(copied) => copied,
        Err(error) => {
            // The server refused to commit what had failed; the transaction is still to be ended.
            session.set_cancel(true);
            return Err(error.into());
        }
    };
    committed?;
    session.set_cancel(true);
    // A trigger may skip a row, and COPY then reports no error.
    if u64::try_from(rows) == Ok(copied) { Ok(()) } else { Err(Failure::Skipped) }
}

/// Holds each of the rows $1 (JSON) against the stored one of its `tx_id` (among $2), or else
/// against the first of them. The table's own type reads what was sent: only its columns know what
/// they make of a value. The answer's columns are in the order of [`COMPARED`].
fn compare(schema: &Schema) -> String {
    const COLUMNS: &str =
        "tx_id, card_fingerprint, user_id, tier, amount, merchant, category, created_at";
    let exact = |column| format!("sent.{column} COLLATE \"C\" = held.{column} COLLATE \"C\"");
    format!(
        "WITH sent AS ( \
             SELECT ordinality AS nth, {COLUMNS} \
             FROM json_populate_recordset(NULL::{schema}.transactions, $1::text::json) \
             WITH ORDINALITY \
         ), held AS ( \
             SELECT DISTINCT ON (tx_id) nth, {COLUMNS} FROM ( \
                 SELECT 0 AS nth, {COLUMNS} FROM {schema}.transactions WHERE tx_id = ANY($2) \
                 UNION ALL SELECT nth, {COLUMNS} FROM sent \
             ) AS either ORDER BY tx_id, nth \
         ) \
         SELECT sent.nth, sent.card_fingerprint = held.card_fingerprint, {user_id}, {tier}, \
                sent.amount = held.amount, {merchant}, {category}, \
                sent.created_at = held.created_at \
         FROM sent JOIN held ON {tx_id} AND held.nth < sent.nth ORDER BY sent.nth",
        tx_id = exact("tx_id"),
        user_id = exact("user_id"),
        tier = exact("tier"),
        merchant = exact("merchant"),
        category = exact("category"),
    )
}

/// Which of `rows` a batch was refused for, and how each differs from the row that was first.
async fn duplicates(
    session: &Session<'_>,
    statements: &Statements,
    rows: &[Row],
    refusal: &tokio_postgres::Error,
) -> Result<Settlement, Error> {
    let sent = encode::json(rows);
    let ids: Vec<&str> = rows.iter().map(|row| row.tx_id.as_str()).collect();
    let client = session.client();
    let compared = session.bounded(async {
        client.batch_execute("ROLLBACK").await?;
        let compare = client.prepare_cached(&statements.compare).await?;
        client.query(&compare, &[&sent, &ids]).await
    });
    let compared = compared.await?;
    if compared.is_empty() {
        return Err(Error::Unavailable(format!(
            "{}, but none of the batch is there now; if that goes on, the sequence behind \
             transactions.id is behind the table: set it past max(id)",
            text(refusal)
        )));
    }
    let named = compared.iter().map(duplicate).collect::<Result<_, _>>();
    named.map(Settlement::Duplicates).map_err(|error| session.failed(&error))
}

/// A row of the answer to [`compare`].
fn duplicate(row: &tokio_postgres::Row) -> Result<Duplicate, tokio_postgres::Error> {
    let nth: i64 = row.try_get(0)?;
    let index = usize::try_from(nth - 1).expect("rows are numbered from 1");
    let mut same = [false; COMPARED.len()];
    for (column, same) in same.iter_mut().enumerate() {
        *same = row.try_get(1 + column)?;
    }
    Ok(Duplicate::compared(index, same))
}
