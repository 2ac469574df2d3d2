//! Reading a store from outside: for audits, and for tools that look at a store another process is
//! settling into.
//!
//! Connections here can't write and claim nothing.

use std::fmt;

use model::clock::EpochMs;
use store::card::Fingerprint;
use store::inspect::{Counts, Payment};
use store::rulesets::Ruleset;
use store::{Error, Load};
use tokio::sync::Mutex;
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Row};

use crate::error::{Stage, at, classify, text};
use crate::family::{loads, rulesets};
use crate::link::Link;
use crate::options::Role;
use crate::schema::Schema;
use crate::time::Timestamp;
use crate::{Options, link, migrations, tls};

mod check;
pub(crate) mod rights;

/// Rows fetched at once.
const PAGE_ROWS: i64 = 10_000;

/// A store, open for reading.
pub struct View {
    schema: Schema,
    /// One transaction at a time.
    link: Mutex<Link>,
}

/// Opens the store that `options` name. [`Options::create`] and [`Options::exclusive`] are passed
/// over.
///
/// # Errors
/// [`Error::Fatal`] when there is no store, or not of the schema this program knows;
/// [`Error::Unavailable`] when the server can't be reached.
pub async fn open(options: &Options) -> Result<View, Error> {
    let opened = async {
        let schema = options.check().map_err(Error::Fatal)?;
        let link = Link::open(options, Role::Inspect, tls::connector(options)?).await?;
        let bound = options.patience();
        link::within(bound, migrations::checked(&link.client, &schema)).await?;
        Ok(View { schema, link: Mutex::new(link) })
    };
    opened.await.map_err(|error| at(options, error))
}

impl View {
    /// Hands every payment that was settled when this began to `each`, in order of settling. All of
    /// them are from one snapshot: read page by page without one, a batch that commits late would
    /// be missed where its ids are lower than those already read.
    ///
    /// # Errors
    /// If the store can't be read. Rows read until then have been handed over.
    pub async fn payments(&self, mut each: impl FnMut(Payment<'_>)) -> Result<(), Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        // By id: an audit must not trust the index on `tx_id`, which it is checking.
        let page = format!(
            "SELECT id, tx_id, amount, card_fingerprint, is_fraud, \
                    array_to_json(fraud_rules)::text, created_at, accepted_at, processed_at, merchant \
             FROM {}.transactions WHERE id > $1 ORDER BY id LIMIT $2",
            self.schema
        );
        let page = client.prepare(&page).await.map_err(|error| unread(&error))?;
        let mut after = i64::MIN;
        loop {
            let rows = client.query(&page, &[&after, &PAGE_ROWS]).await;
            let rows = rows.map_err(|error| unread(&error))?;
            for row in &rows {
                hand(row, &mut each)?;
            }
            match rows.last() {
                Some(last) => after = last.get(0),
                None => break,
            }
        }
        ended(client).await
    }

    /// Counts everything, from one moment. Reads the whole table.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let counts = self.counted(client).await.map_err(|error| unread(&error))?;
        ended(client).await?;
        Ok(counts)
    }

    /// What the store keeps of the card fingerprint key it was begun with; none before a process settled here.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn key_check(&self) -> Result<Option<Fingerprint>, Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let kept = format!("SELECT key_check FROM {}.settling_term", self.schema);
        let row = client.query_one(&kept, &[]).await.map_err(|error| unread(&error))?;
        let kept: Option<&[u8]> = value(&row, 0)?;
        let check = kept.map(|kept| {
            let wrong = |_| Error::Fatal("the key_check of settling_term is not 16 bytes".into());
            kept.try_into().map(Fingerprint).map_err(wrong)
        });
        ended(client).await?;
        check.transpose()
    }

    /// How many events were found to be settled already, as the pipelines recorded it.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn duplicates(&self) -> Result<u64, Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let sum = format!(
            "SELECT coalesce(sum(duplicates), 0)::bigint FROM {}.pipeline_completion_log",
            self.schema
        );
        let row = client.query_one(&sum, &[]).await.map_err(|error| unread(&error))?;
        let duplicates = count(&row, 0).map_err(|error| unread(&error))?;
        ended(client).await?;
        Ok(duplicates)
    }

    async fn counted(&self, client: &Client) -> Result<Counts, tokio_postgres::Error> {
        // What is counted must not come from the indexes that are to be checked.
        client
            .batch_execute(
                "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; \
                 SET LOCAL enable_bitmapscan = off",
            )
            .await?;
        let totals = format!(
            "SELECT count(*), count(DISTINCT tx_id), count(*) FILTER (WHERE is_fraud) \
             FROM {}.transactions",
            self.schema
        );
        let totals = client.query_one(&totals, &[]).await?;
        let by_rule = format!(
            "SELECT rule, count(*) FROM {}.transactions, unnest(fraud_rules) AS rule \
             WHERE is_fraud GROUP BY rule",
            self.schema
        );
        let by_rule = client.query(&by_rule, &[]).await?;
        let flagged_by_rule = by_rule.iter().map(|row| Ok((row.try_get(0)?, count(row, 1)?)));
        Ok(Counts {
            total: count(&totals, 0)?,
            distinct: count(&totals, 1)?,
            flagged: count(&totals, 2)?,
            flagged_by_rule: flagged_by_rule.collect::<Result<_, tokio_postgres::Error>>()?,
        })
    }

    /// What processes had to do in `pipeline` since `since_ms`, in the order of time.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn loads(&self, pipeline: &str, since_ms: EpochMs) -> Result<Vec<Load>, Error> {
        let since = Timestamp::new(since_ms)
            .ok_or_else(|| Error::Rejected("since: lies outside the years 1 to 9999".into()))?;
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let rows = client.query(&loads::since(&self.schema), &[&pipeline, &since]).await;
        let rows = rows.map_err(|error| unread(&error))?;
        ended(client).await?;
        rows.iter().map(loads::one).collect::<Result<_, _>>().map_err(|error| unread(&error))
    }

    /// Every version of the fraud rules, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn rulesets(&self) -> Result<Vec<Ruleset>, Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let rows = client.query(&rulesets::all(&self.schema), &[]).await;
        let rows = rows.map_err(|error| unread(&error))?;
        ended(client).await?;
        rows.iter().map(rulesets::one).collect::<Result<_, _>>().map_err(|error| unread(&error))
    }

    /// The rights that this role would lack to settle into the store, one sentence for each table.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn rights(&self) -> Result<Vec<String>, Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let lacking = rights::lacking(client, &self.schema).await;
        let lacking = lacking.map_err(|error| unread(&error))?;
        ended(client).await?;
        Ok(lacking)
    }

    /// The rights that this role would lack to be paused and listed, one sentence for each table.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn rights_to_be_listed(&self) -> Result<Vec<String>, Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let missing = rights::unlisted(client, &self.schema).await;
        let missing = missing.map_err(|error| unread(&error))?;
        ended(client).await?;
        Ok(missing)
    }

    /// What is wrong with the store as it is, one sentence for each; empty when nothing is. Reads
    /// the whole table.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        let link = self.link.lock().await;
        let client = begun(&link).await?;
        let found = check::problems(client, &self.schema).await;
        let found = found.map_err(|error| unread(&error))?;
        ended(client).await?;
        Ok(found)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// The connection, in a snapshot of its own. One that an earlier failure left open is ended first.
async fn begun(link: &Link) -> Result<&Client, Error> {
    let begin = "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    link.client.batch_execute(begin).await.map_err(|error| unread(&error))?;
    Ok(&link.client)
}

async fn ended(client: &Client) -> Result<(), Error> {
    client.batch_execute("COMMIT").await.map_err(|error| unread(&error))
}

fn unread(error: &tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(_) => classify(error, Stage::Read),
        None => Error::Unavailable(text(error)),
    }
}

fn hand(row: &Row, each: &mut impl FnMut(Payment<'_>)) -> Result<(), Error> {
    let fingerprint: &[u8] = value(row, 3)?;
    let fingerprint = fingerprint.try_into().map_err(|_| {
        let id: i64 = row.get(0);
        Error::Fatal(format!("the card_fingerprint of the payment with id {id} is not 16 bytes"))
    })?;
    let ms = |column| value(row, column).map(Timestamp::ms);
    each(Payment {
        tx_id: value(row, 1)?,
        amount: value(row, 2)?,
        card_fingerprint: Fingerprint(fingerprint),
        is_fraud: value(row, 4)?,
        fraud_rules: value(row, 5)?,
        created_at_ms: ms(6)?,
        accepted_at_ms: ms(7)?,
        processed_at_ms: value::<Option<Timestamp>>(row, 8)?.map(Timestamp::ms),
        merchant: value(row, 9)?,
    });
    Ok(())
}

fn value<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Error> {
    row.try_get(column).map_err(|error| unread(&error))
}

/// A column that counts something.
fn count(row: &Row, column: usize) -> Result<u64, tokio_postgres::Error> {
    row.try_get::<_, i64>(column).map(i64::unsigned_abs)
}
