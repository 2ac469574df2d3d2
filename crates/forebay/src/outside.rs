//! Reading a buffer and a store from outside, while others may be working on them: for audits, and
//! for the verbs that look. Whatever the backend, the same questions.

use anyhow::Result;
use buffer::DeadLetter;
use model::Event;
use model::clock::EpochMs;
use store::inspect::{Counts, Payment};
use store::rulesets::Ruleset;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::{open, url};

/// Events read at once.
const PAGE_EVENTS: usize = 1_000;

/// An event that a buffer holds.
pub(crate) struct Held {
    pub(crate) seq: u64,
    pub(crate) accepted_at_ms: EpochMs,
    pub(crate) event: Event,
}

/// Hands every event that is neither settled nor buried to `each`, oldest first, for as long as it
/// says to go on.
///
/// # Errors
/// If the buffer can't be looked at from outside.
pub(crate) async fn pending(
    buffer: &url::Buffer,
    mut each: impl FnMut(Held) -> bool + Send,
) -> Result<()> {
    match buffer {
        url::Buffer::Redis(options) => {
            let mut from = 0;
            loop {
                let page = buffer_redis::inspect::events(options, from, PAGE_EVENTS).await?;
                let Some(last) = page.last() else { return Ok(()) };
                from = last.seq + 1;
                for held in page {
                    let buffer_redis::inspect::Held { seq, accepted_at_ms, event, .. } = held;
                    if !each(Held { seq, accepted_at_ms, event }) {
                        return Ok(());
                    }
                }
            }
        }
        url::Buffer::Kafka(options) => {
            let mut from = 0;
            loop {
                let page = buffer_kafka::inspect::events(options, from, PAGE_EVENTS).await?;
                let Some(last) = page.last() else { return Ok(()) };
                from = last.seq + 1;
                for held in page {
                    let buffer_kafka::inspect::Held { seq, accepted_at_ms, event } = held;
                    if !each(Held { seq, accepted_at_ms, event }) {
                        return Ok(());
                    }
                }
            }
        }
        journal => block_in_place(|| {
            let options = open::journal(journal)?;
            buffer_journal::inspect::events(options, |seq, accepted_at_ms, done, event| {
                done || each(Held { seq, accepted_at_ms, event: event.clone() })
            })?;
            Ok(())
        }),
    }
}

/// The dead letters of a buffer, in their order. Looking at those of a queue hides them from others, until
/// `stop` is cancelled at the latest.
///
/// # Errors
/// If the buffer can't be looked at from outside.
pub(crate) async fn dead(
    buffer: &url::Buffer,
    stop: &CancellationToken,
) -> Result<Vec<DeadLetter>> {
    match buffer {
        url::Buffer::Redis(options) => Ok(buffer_redis::inspect::dead(options).await?),
        url::Buffer::Kafka(options) => Ok(buffer_kafka::inspect::dead(options).await?),
        url::Buffer::Sqs(options) => {
            Ok(buffer_sqs::inspect::dead(options, stop.cancelled()).await?)
        }
        journal => block_in_place(|| Ok(buffer_journal::inspect::dead(open::journal(journal)?)?)),
    }
}

/// What a store holds; `None` where there is none yet.
///
/// # Errors
/// If it is there and can't be read.
pub(crate) async fn counts(store: &url::Store) -> Result<Option<Counts>> {
    match store {
        url::Store::Sqlite(options) => block_in_place(|| {
            if !options.path.exists() {
                return Ok(None);
            }
            Ok(Some(store_sqlite::inspect::open(&options.path)?.counts()?))
        }),
        url::Store::Postgres(options) => {
            Ok(Some(store_postgres::inspect::open(options).await?.counts().await?))
        }
    }
}

/// How many events were found to be settled already, as the pipelines recorded it.
///
/// # Errors
/// If the store is there and can't be read.
pub(crate) async fn duplicates(store: &url::Store) -> Result<u64> {
    match store {
        url::Store::Sqlite(options) => block_in_place(|| {
            if !options.path.exists() {
                return Ok(0);
            }
            Ok(store_sqlite::inspect::open(&options.path)?.duplicates()?)
        }),
        url::Store::Postgres(options) => {
            Ok(store_postgres::inspect::open(options).await?.duplicates().await?)
        }
    }
}

/// Hands every payment of the store to `each`, in order of settling.
///
/// # Errors
/// If it can't be read. Rows read until then have been handed over.
pub(crate) async fn payments(
    store: &url::Store,
    each: impl FnMut(Payment<'_>) + Send,
) -> Result<()> {
    match store {
        url::Store::Sqlite(options) => {
            block_in_place(|| store_sqlite::inspect::open(&options.path)?.payments(each))?;
        }
        url::Store::Postgres(options) => {
            store_postgres::inspect::open(options).await?.payments(each).await?;
        }
    }
    Ok(())
}

/// Every version of the fraud rules, in order; `None` where there is no store yet.
///
/// # Errors
/// If the store is there and can't be read.
pub(crate) async fn rulesets(store: &url::Store) -> Result<Option<Vec<Ruleset>>> {
    match store {
        url::Store::Sqlite(options) => block_in_place(|| {
            if !options.path.exists() {
                return Ok(None);
            }
            Ok(Some(store_sqlite::inspect::open(&options.path)?.rulesets()?))
        }),
        url::Store::Postgres(options) => {
            Ok(Some(store_postgres::inspect::open(options).await?.rulesets().await?))
        }
    }
}
