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

use std::collections::HashSet;
use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;
use model::clock::EpochMs;
use store::payments::skipped;
use store::{Error, Fence, Row, Settlement};
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use crate::error::{Stage, text};
use crate::schema::Schema;
use crate::session::{COMMIT, Pool, Session};
use crate::settings::BEGIN;
use crate::{encode, fence};

/// The statements, for one schema.
#[derive(Debug)]
pub(crate) struct Statements {
    begin: String,
    begin_in_term: String,
    copy: String,
    existing: String,
}

impl Statements {
    pub(crate) fn new(schema: &Schema) -> Self {
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
            existing: format!("SELECT tx_id FROM {schema}.transactions WHERE tx_id = ANY($1)"),
        }
    }
}

/// What a batch must find unchanged in its own transaction.
pub(crate) enum Guard<'f> {
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
pub(crate) async fn settle(
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
        Failure::Superseded => Err(crate::claim::superseded()),
        Failure::Fenced(fenced) => Ok(fenced),
        Failure::Skipped => {
            session.keep();
            Err(Error::Rejected(skipped().into()))
        }
        Failure::Database(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
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
            if let Some(fenced) = fence::passed(fences, &begun) {
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

/// Which of `rows` a batch was refused for.
async fn duplicates(
    session: &Session<'_>,
    statements: &Statements,
    rows: &[Row],
    refusal: &tokio_postgres::Error,
) -> Result<Settlement, Error> {
    let ids: Vec<&str> = rows.iter().map(|row| row.tx_id.as_str()).collect();
    let client = session.client();
    let existing = session.bounded(async {
        client.batch_execute("ROLLBACK").await?;
        let existing = client.prepare_cached(&statements.existing).await?;
        client.query(&existing, &[&ids]).await
    });
    let existing = existing.await?;
    // An id seen before is in the store, or in front of this one.
    let mut seen: HashSet<&str> = existing.iter().map(|row| row.get(0)).collect();
    let repeated = |(index, id)| (!seen.insert(id)).then_some(index);
    let indexes: Vec<usize> = ids.into_iter().enumerate().filter_map(repeated).collect();
    if indexes.is_empty() {
        return Err(Error::Unavailable(format!(
            "{}, but none of the batch is there now; if that goes on, the sequence behind \
             transactions.id is behind the table: set it past max(id)",
            text(refusal)
        )));
    }
    Ok(Settlement::Duplicates(indexes))
}
