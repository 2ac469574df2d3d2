//! The store as its users hold it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use model::clock::{Clock, EpochMs};
use store::card::Fingerprint;
use store::{
    Completion, Completions, Error, Fence, History, Keys, Load, Loads, Payments, Row, Rulesets,
    Settlement,
};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::claim::Claim;
use crate::error::Stage;
use crate::inspect::rights;
use crate::options::Role;
use crate::session::Pool;
use crate::{Options, completions, fence, history, key, load, migrations, payments, rulesets, tls};

/// An open store. Dropping it lets go of the claim and waits for nothing; [`Store::close`] waits.
pub struct Store {
    pool: Pool,
    clock: Arc<dyn Clock>,
    claim: Claim,
    /// Whether it is closed. Read for as long as a call lasts, so that closing waits for them.
    closed: RwLock<bool>,
    payments: payments::Statements,
    fences: fence::Statements,
    histories: history::Statements,
    completion: String,
    load: String,
    key: String,
    rulesets: rulesets::Statements,
    shown: String,
}

impl Store {
    /// Opens the store: brings the schema up with [`Options::create`], checks it, and claims it,
    /// for this process alone with [`Options::exclusive`] and beside others without.
    ///
    /// A role that is to settle, and to change no schema, needs USAGE on the schema, SELECT on its
    /// tables, INSERT on `transactions`, `pipeline_completion_log`, `load_history`, `rulesets` and
    /// `shard_fences`, UPDATE on `settling_term` and `shard_fences`, and DELETE on `load_history`.
    ///
    /// # Errors
    /// [`Error::Fatal`] when an option is wrong, the role may not do what it has to, the schema is
    /// not there or not of this program's version, or another process holds a claim that excludes
    /// this one; [`Error::Unavailable`] when the server can't be reached or takes no writes.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::opened(&options, clock).await.map_err(|error| at(&options, error))
    }

    async fn opened(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let schema = options.check().map_err(Error::Fatal)?;
        let tls = tls::connector(options)?;
        if options.create {
            migrations::run(options, &schema, tls.clone()).await?;
        } else {
            migrations::check(options, &schema, tls.clone()).await?;
        }
        let claim = Claim::take(options, &schema, tls.clone()).await?;
        let pool = Pool::new(options, Role::Work, tls)?;
        let session = pool.session(Stage::Open).await?;
        let lacking = rights::lacking(session.client(), &schema);
        let lacking = lacking.await.map_err(|error| session.failed(&error))?;
        if !lacking.is_empty() {
            return Err(Error::Fatal(lacking.join("; ")));
        }
        session.keep();
        Ok(Self {
            pool,
            clock,
            claim,
            closed: RwLock::new(false),
            payments: payments::Statements::new(&schema),
            fences: fence::Statements::new(&schema),
            histories: history::Statements::new(&schema),
            completion: completions::statement(&schema),
            load: load::statement(&schema),
            key: key::statement(&schema),
            rulesets: rulesets::Statements::new(&schema),
            shown: options.to_string(),
        })
    }

    /// Waits for the calls that run, closes the connections, and lets go of the claim. A second
    /// call does nothing. Later calls fail.
    ///
    /// # Errors
    /// None today; the claim is the server's to take back when it can't be given.
    pub async fn close(&self) -> Result<(), Error> {
        let mut closed = self.closed.write().await;
        *closed = true;
        self.pool.close();
        self.claim.release().await;
        Ok(())
    }

    async fn entered(&self) -> Result<RwLockReadGuard<'_, bool>, Error> {
        let closed = self.closed.read().await;
        if *closed { Err(Error::Fatal("it is closed".into())) } else { Ok(closed) }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("at", &self.shown).finish_non_exhaustive()
    }
}

#[async_trait]
impl Payments for Store {
    async fn settle_fenced(&self, rows: Vec<Row>, fences: &[Fence]) -> Result<Settlement, Error> {
        let _open = self.entered().await?;
        if rows.is_empty() {
            return Ok(Settlement::Settled);
        }
        let guard = match self.claim.term()? {
            Some(term) => payments::Guard::Term(term),
            None if fences.is_empty() => payments::Guard::None,
            None => payments::Guard::Fences(fences, self.fences.begin(fences)),
        };
        let began = Instant::now();
        let now_ms = self.clock.now_ms();
        let settled = payments::settle(&self.pool, &self.payments, &rows, now_ms, &guard).await;
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
        let _open = self.entered().await?;
        fence::take(&self.pool, &self.fences, shards, self.claim.owner()).await
    }

    async fn histories(
        &self,
        cards: &[Fingerprint],
        recent_max: usize,
    ) -> Result<Vec<History>, Error> {
        let _open = self.entered().await?;
        if cards.is_empty() {
            return Ok(Vec::new());
        }
        history::read(&self.pool, &self.histories, cards, recent_max).await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        let _open = self.entered().await?;
        history::is_empty(&self.pool, &self.histories).await
    }
}

#[async_trait]
impl Completions for Store {
    async fn complete(&self, completion: Completion) -> Result<(), Error> {
        let _open = self.entered().await?;
        completions::complete(&self.pool, &self.completion, &completion).await
    }
}

#[async_trait]
impl Keys for Store {
    async fn same_key(&self, check: Fingerprint) -> Result<bool, Error> {
        let _open = self.entered().await?;
        key::same(&self.pool, &self.key, check).await
    }
}

#[async_trait]
impl Rulesets for Store {
    async fn ruleset_version(&self, rules: &str) -> Result<i64, Error> {
        let _open = self.entered().await?;
        rulesets::version(&self.pool, &self.rulesets, rules, self.clock.now_ms()).await
    }
}

#[async_trait]
impl Loads for Store {
    async fn record(&self, load: Load, forget_before_ms: EpochMs) -> Result<(), Error> {
        let _open = self.entered().await?;
        load::record(&self.pool, &self.load, &load, forget_before_ms).await
    }
}

/// Adds which store it is to an error of opening it.
pub(crate) fn at(options: &Options, error: Error) -> Error {
    match error {
        Error::Unavailable(text) => Error::Unavailable(format!("{options}: {text}")),
        Error::Refused(text) => Error::Refused(format!("{options}: {text}")),
        Error::Rejected(text) => Error::Rejected(format!("{options}: {text}")),
        Error::Fatal(text) => Error::Fatal(format!("{options}: {text}")),
    }
}
