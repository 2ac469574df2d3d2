//! What all families of one open store share: its pools, its schema, and whether it is closed.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use model::clock::{Clock, EpochMs};
use store::Error;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::error::{Stage, at};
use crate::options::Role;
use crate::schema::Schema;
use crate::session::Pool;
use crate::{Options, migrations, tls};

pub(crate) struct Database {
    options: Options,
    schema: Schema,
    tls: tls::Connector,
    clock: Arc<dyn Clock>,
    work: Pool,
    /// For tables of others, whose triggers may rely on settings of their own.
    tables: Arc<Pool>,
    /// Whether it is closed. Read for as long as a call lasts, so that closing waits for them.
    closed: RwLock<bool>,
    /// Set once the schema is known to be the one of this program.
    fit: OnceCell<()>,
}

impl Database {
    /// Connects to nothing yet: the schema is looked at when a family is first used.
    ///
    /// # Errors
    /// [`Error::Fatal`] when an option is wrong.
    pub(crate) fn new(options: Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let schema = options.check().map_err(Error::Fatal)?;
        let tls = tls::connector(&options)?;
        let work = Pool::new(&options, Role::Work, tls.clone())?;
        let tables = Arc::new(Pool::new(&options, Role::Tables, tls.clone())?);
        let (closed, fit) = (RwLock::new(false), OnceCell::new());
        Ok(Self { options, schema, tls, clock, work, tables, closed, fit })
    }

    /// Brings the schema up with [`Options::create`], and looks whether it is the one of this program.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        if self.options.create {
            migrations::run(&self.options, &self.schema, self.tls.clone()).await?;
            self.fit.set(()).ok();
        }
        self.looked_at().await
    }

    async fn looked_at(&self) -> Result<(), Error> {
        let check = || migrations::check(&self.options, &self.schema, self.tls.clone());
        self.fit.get_or_try_init(check).await.copied()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn tls(&self) -> tls::Connector {
        self.tls.clone()
    }

    pub(crate) fn now_ms(&self) -> EpochMs {
        self.clock.now_ms()
    }

    /// Connections for tables of others.
    pub(crate) fn tables(&self) -> &Arc<Pool> {
        &self.tables
    }

    /// Connections for the families, which are not closed before what this returns is dropped.
    ///
    /// # Errors
    /// [`Error::Fatal`] when it is closed, or the schema is not there or of another version.
    pub(crate) async fn enter(&self) -> Result<Entered<'_>, Error> {
        let closed = self.closed.read().await;
        if *closed {
            return Err(Error::Fatal("it is closed".into()));
        }
        self.looked_at().await.map_err(|error| at(&self.options, error))?;
        Ok(Entered { pool: &self.work, _closed: closed })
    }

    /// What one statement returns.
    pub(crate) async fn query(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.rows(Stage::Write, sql, values).await
    }

    /// The same. A right that the role lacks is [`Error::Fatal`]: an operator has to grant it.
    pub(crate) async fn query_if_granted(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.rows(Stage::Open, sql, values).await
    }

    async fn rows(
        &self,
        stage: Stage,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let pool = self.enter().await?;
        let session = pool.session(stage).await?;
        let rows = session.bounded(async {
            let statement = session.client().prepare_cached(sql).await?;
            session.client().query(&statement, values).await
        });
        let rows = rows.await?;
        session.keep();
        Ok(rows)
    }

    /// How many rows one statement changes.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let pool = self.enter().await?;
        let session = pool.session(Stage::Write).await?;
        let changed = session.bounded(async {
            let statement = session.client().prepare_cached(sql).await?;
            session.client().execute(&statement, values).await
        });
        let changed = changed.await?;
        session.keep();
        Ok(changed)
    }

    /// Waits for the calls that run, and closes the connections.
    pub(crate) async fn close(&self) {
        let mut closed = self.closed.write().await;
        *closed = true;
        self.work.close();
        self.tables.close();
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("at", &self.options.to_string()).finish_non_exhaustive()
    }
}

/// The pool, for as long as one call lasts.
pub(crate) struct Entered<'d> {
    pool: &'d Pool,
    _closed: RwLockReadGuard<'d, bool>,
}

impl Deref for Entered<'_> {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        self.pool
    }
}
