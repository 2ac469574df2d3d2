//! What the pipeline is measured against: payments written without it, one INSERT each.
//!
//! Both ways prepare the statement once for each connection, write every column, and let each
//! INSERT be a transaction of its own, as durable as a batch of the store is. A
//! `tx_id` that is there already is left as it is, and counted.
//!
//! What it deliberately does not do: it screens nothing, makes no schema, and neither takes nor
//! respects the claim on a store. So it is for measuring, in a schema that nobody settles into.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::clock::Clock;
use store::plain::Outcome;
use store::{Error, Row};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use crate::error::{Stage, classify};
use crate::family::payments::encode;
use crate::link::{self, Link};
use crate::options::Role;
use crate::time::Timestamp;
use crate::{Options, tls};

/// Latencies on their way from the connections to whoever records them.
const LATENCIES_MAX: usize = 4_096;

/// Counts the rows of one or several connections.
#[derive(Default)]
struct Tally(Outcome);

impl Tally {
    fn add(&mut self, Self(other): Self) {
        self.0.inserted += other.inserted;
        self.0.duplicates += other.duplicates;
        self.0.failed += other.failed;
        self.0.failure = self.0.failure.take().or(other.failure);
    }

    fn fail(&mut self, error: Error) {
        self.0.failed += 1;
        self.0.failure.get_or_insert(error);
    }

    fn count(&mut self, inserted: Result<Inserted, Error>) -> Next {
        match inserted {
            Ok(Inserted::New(took)) => {
                self.0.inserted += 1;
                return Next::Recorded(took);
            }
            Ok(Inserted::Duplicate) => self.0.duplicates += 1,
            Err(error) => {
                let over = !matches!(error, Error::Rejected(_) | Error::Refused(_));
                self.fail(error);
                if over {
                    return Next::Over;
                }
            }
        }
        Next::GoOn
    }

    fn after(self, took: Duration) -> Outcome {
        Outcome { took, ..self.0 }
    }
}

/// A connection with the statement prepared: opened before the time counts.
pub struct Connection {
    link: Link,
    insert: Statement,
    bound: Duration,
}

/// Writes `rows` over one connection, one after the other, each when the one before is committed.
///
/// After `limit` no further INSERT begins. A row that is rejected is counted, and it goes on; when
/// the server can't be reached any more, it ends there. `on_insert` gets how long each row took
/// that was inserted. `clock` stamps `processed_at`.
pub async fn one_by_one(
    connection: Connection,
    rows: impl IntoIterator<Item = Row>,
    limit: Duration,
    clock: &dyn Clock,
    mut on_insert: impl FnMut(Duration),
) -> Outcome {
    let began = Instant::now();
    let mut tally = Tally::default();
    for row in rows {
        if began.elapsed() >= limit {
            break;
        }
        let inserted = connection.insert(&row, clock).await;
        match tally.count(inserted) {
            Next::Recorded(took) => on_insert(took),
            Next::GoOn => {}
            Next::Over => break,
        }
    }
    tally.after(began.elapsed())
}

/// Writes `rows` over all `connections` at once, each as [`one_by_one`] does, and each taking the
/// next row when it is free. A connection that can't be used any more is not replaced.
pub async fn pooled<I>(
    connections: Vec<Connection>,
    rows: I,
    limit: Duration,
    clock: Arc<dyn Clock>,
    mut on_insert: impl FnMut(Duration),
) -> Outcome
where
    I: IntoIterator<Item = Row>,
    I::IntoIter: Send + 'static,
{
    let rows = Arc::new(Mutex::new(rows.into_iter()));
    let (latencies, mut recorded) = mpsc::channel(LATENCIES_MAX);
    let mut running = JoinSet::new();
    let began = Instant::now();
    for connection in connections {
        let (rows, clock, latencies) = (Arc::clone(&rows), Arc::clone(&clock), latencies.clone());
        running.spawn(async move {
            // A panic in the caller's iterator ends the task it happened in; the others go on.
            let row = || rows.lock().unwrap_or_else(PoisonError::into_inner).next();
            let next = || if began.elapsed() < limit { row() } else { None };
            connection.drain(next, &*clock, &latencies).await
        });
    }
    drop(latencies);
    while let Some(took) = recorded.recv().await {
        on_insert(took);
    }
    let mut tally = Tally::default();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(part) => tally.add(part),
            Err(error) => tally.fail(Error::Fatal(format!("a connection's task: {error}"))),
        }
    }
    tally.after(began.elapsed())
}

/// Opens a connection, and while it is open hands `look` the id that the server's process for it
/// has on the server's machine: what to find the server by, when that is this machine.
///
/// # Errors
/// If no connection can be had.
pub async fn while_connected<T>(
    options: &Options,
    look: impl FnOnce(u32) -> T,
) -> Result<T, Error> {
    options.check().map_err(Error::Fatal)?;
    let link = Link::open(options, Role::Inspect, tls::connector(options)?).await?;
    let pid: i32 = link::one(&link.client, "SELECT pg_backend_pid()", &[]).await?.get(0);
    let pid = u32::try_from(pid).map_err(|_| Error::Fatal(format!("{pid} is no process id")))?;
    Ok(look(pid))
}

enum Inserted {
    New(Duration),
    Duplicate,
}

/// What to do after a row.
enum Next {
    Recorded(Duration),
    GoOn,
    Over,
}

impl Connection {
    /// Connects and prepares.
    ///
    /// # Errors
    /// If the options are wrong, or the server or the table is not there.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let schema = options.check().map_err(Error::Fatal)?;
        let bound = options.patience();
        let link = Link::open(options, Role::Work, tls::connector(options)?).await?;
        let sql = format!(
            "INSERT INTO {schema}.transactions ({}) VALUES \
             ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12, $13, $14, $15) \
             ON CONFLICT (tx_id) DO NOTHING",
            encode::COLUMNS
        );
        let prepare = async {
            let prepared = link.client.prepare(&sql).await;
            prepared.map_err(|error| classify(&error, Stage::Open))
        };
        let insert = link::within(bound, prepare).await?;
        Ok(Self { link, insert, bound })
    }

    /// Writes what `next` has until it has nothing more.
    async fn drain(
        self,
        mut next: impl FnMut() -> Option<Row>,
        clock: &dyn Clock,
        latencies: &mpsc::Sender<Duration>,
    ) -> Tally {
        let mut tally = Tally::default();
        while let Some(row) = next() {
            let inserted = self.insert(&row, clock).await;
            match tally.count(inserted) {
                // Nobody records them any more when the caller has gone away.
                Next::Recorded(took) => drop(latencies.send(took).await),
                Next::GoOn => {}
                Next::Over => break,
            }
        }
        tally
    }

    async fn insert(&self, row: &Row, clock: &dyn Clock) -> Result<Inserted, Error> {
        let time =
            |ms| Timestamp::new(ms).ok_or_else(|| Error::Rejected("a time is out of range".into()));
        let (created_at, accepted_at) = (time(row.created_at_ms)?, time(row.accepted_at_ms)?);
        let began = Instant::now();
        let processed_at = time(clock.now_ms())?;
        let (fingerprint, tier) = (row.card_fingerprint.0.as_slice(), row.tier.name());
        let is_fraud = !row.fraud_rules.is_empty();
        let values: [&(dyn ToSql + Sync); 15] = [
            &row.tx_id,
            &row.card_number,
            &fingerprint,
            &row.user_id,
            &tier,
            &row.amount,
            &row.merchant,
            &row.category,
            &is_fraud,
            &row.fraud_rules,
            &row.fraud_detail,
            &row.ruleset_version,
            &created_at,
            &accepted_at,
            &processed_at,
        ];
        let execute = async {
            let executed = self.link.client.execute(&self.insert, &values).await;
            executed.map_err(|error| classify(&error, Stage::Write))
        };
        Ok(match link::within(self.bound, execute).await? {
            0 => Inserted::Duplicate,
            _ => Inserted::New(began.elapsed()),
        })
    }
}
