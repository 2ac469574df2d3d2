//! Connections for work: borrowed from a pool, bounded in time, and thrown away on any doubt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Metrics, Object, PoolError,
    RecyclingMethod, Runtime, TimeoutType, Timeouts,
};
use store::Error;
use tokio::time::timeout;
use tokio_postgres::CancelToken;

use crate::error::{Stage, classify, is_link, is_of_session};
use crate::options::Role;
use crate::settings::Problem;
use crate::{Options, tls};

/// Ends the transaction. A commit may wait for a standby, and what ends that wait early (a timeout,
/// a request to cancel) makes the server commit without it and answer as if all were well. So
/// nothing but this end's own patience bounds a commit.
pub(crate) const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// A connection that lay idle for longer is asked whether it still works before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(30);

pub(crate) struct Pool {
    inner: deadpool_postgres::Pool,
    tls: tls::Connector,
    bound: Duration,
    connect_timeout: Duration,
    /// What this pool has added to the gauges, which show the sum of all pools of the process.
    shown: Mutex<[f64; GAUGES.len()]>,
}

/// Connections, those that lie idle, and callers that wait for one.
const GAUGES: [&str; 3] = ["store_pool_connections", "store_pool_idle", "store_pool_waiting"];

impl Pool {
    /// Connects to nothing yet.
    pub(crate) fn new(options: &Options, role: Role, tls: tls::Connector) -> Result<Self, Error> {
        let (settings, bound) = (options.settings(role), options.connect_timeout());
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(
            options.config(role),
            tls.clone(),
            ManagerConfig { recycling_method },
        );
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(options.pool_max)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(options.patience()),
                create: Some(options.connect_timeout_of_all()),
                recycle: Some(options.connect_timeout()),
            })
            .pre_recycle(Hook::async_fn(|client: &mut ClientWrapper, metrics: &Metrics| {
                let trusted = metrics.last_used() < IDLE_TRUSTED;
                Box::pin(async move {
                    if !trusted {
                        client.batch_execute("").await.map_err(HookError::Backend)?;
                    }
                    Ok(())
                })
            }))
            .post_create(Hook::async_fn(move |client: &mut ClientWrapper, _: &Metrics| {
                let settings = settings.clone();
                Box::pin(async move {
                    match timeout(bound, settings.ask(client)).await {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(Problem::Database(error))) => Err(HookError::Backend(error)),
                        Ok(Err(Problem::Setting(said))) => Err(HookError::message(said)),
                        Err(_) => Err(HookError::message("the server does not say how it is set")),
                    }
                })
            }))
            .build()
            .map_err(|error| Error::Fatal(format!("no pool can be made: {error}")))?;
        Ok(Self {
            inner,
            tls,
            bound: options.patience(),
            connect_timeout: options.connect_timeout_of_all(),
            shown: Mutex::default(),
        })
    }

    /// A connection, within the time that waiting and connecting may take.
    pub(crate) async fn session(&self, stage: Stage) -> Result<Session<'_>, Error> {
        let object = self.inner.get().await;
        self.count();
        let object = object.map_err(|error| match error {
            PoolError::PostCreateHook(HookError::Message(said)) => {
                Error::Unavailable(said.into_owned())
            }
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                match classify(&error, stage) {
                    // Connecting sends no row that could be at fault.
                    Error::Rejected(said) | Error::Refused(said) => Error::Unavailable(said),
                    other => other,
                }
            }
            PoolError::Timeout(TimeoutType::Wait) => Error::Unavailable(format!(
                "all {} connections were in use for {} ms",
                self.inner.status().max_size,
                self.bound.as_millis()
            )),
            PoolError::Timeout(_) => {
                let ms = self.connect_timeout.as_millis();
                Error::Unavailable(format!("no server answered within {ms} ms"))
            }
            PoolError::Closed => Error::Fatal("it is closed".into()),
            other => Error::Unavailable(other.to_string()),
        })?;
        Ok(Session {
            pool: self,
            object: Some(object),
            stage,
            cancel: true,
            spoilt: AtomicBool::new(false),
        })
    }

    /// Gives no connection away any more, and closes those that lie idle.
    pub(crate) fn close(&self) {
        self.inner.close();
        self.count();
    }

    /// Closes what lies idle: the server that it leads to was found to be gone.
    fn distrust(&self) {
        self.inner.retain(|_, _| false);
    }

    #[expect(clippy::cast_precision_loss, reason = "a pool has a thousand connections at most")]
    fn count(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let status = self.inner.status();
        let now = [status.size, status.available, status.waiting].map(|count| count as f64);
        show(&mut shown, now);
    }

    /// Asks the server, beside the connection, to stop what it is doing for it.
    fn cancel(&self, token: CancelToken) {
        let (tls, bound) = (self.tls.clone(), self.connect_timeout);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                match timeout(bound, token.cancel_query(tls)).await {
                    Ok(Ok(())) => {}
                    // The server's own timeout ends it then.
                    Ok(Err(error)) => tracing::debug!(%error, "a statement was not cancelled"),
                    Err(_) => tracing::debug!("a statement was not cancelled in time"),
                }
            });
        }
    }
}

/// Adds to the gauges by how much a pool has changed.
fn show(shown: &mut [f64; GAUGES.len()], now: [f64; GAUGES.len()]) {
    for ((gauge, shown), now) in GAUGES.into_iter().zip(shown).zip(now) {
        metrics::gauge!(gauge).increment(now - *shown);
        *shown = now;
    }
}

impl Drop for Pool {
    /// Its connections are gone.
    fn drop(&mut self) {
        show(self.shown.get_mut().unwrap_or_else(PoisonError::into_inner), Default::default());
    }
}

/// A borrowed connection. Dropping it throws the connection away, with whatever transaction it was
/// in, and cancels the statement that runs; only [`Session::keep`] gives it back.
pub(crate) struct Session<'p> {
    pool: &'p Pool,
    object: Option<Object>,
    stage: Stage,
    cancel: bool,
    /// What failed may lie in the session: it is not used again.
    spoilt: AtomicBool,
}

impl Session<'_> {
    pub(crate) fn client(&self) -> &ClientWrapper {
        self.object.as_ref().expect("it is there until it is kept or dropped")
    }

    /// Commits the transaction.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        // A cancelled commit may be a commit that waits for no standby.
        self.set_cancel(false);
        self.bounded(self.client().batch_execute(COMMIT)).await?;
        self.set_cancel(true);
        Ok(())
    }

    /// Takes the transaction back.
    pub(crate) async fn rollback(&self) -> Result<(), Error> {
        self.bounded(self.client().batch_execute("ROLLBACK")).await
    }

    /// Whether dropping the session cancels the statement that runs.
    pub(crate) fn set_cancel(&mut self, cancel: bool) {
        self.cancel = cancel;
    }

    /// Runs `work` on this connection, for a little longer than the server lets a statement run.
    pub(crate) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        match timeout(self.pool.bound, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => Err(self.late()),
        }
    }

    pub(crate) fn bound(&self) -> Duration {
        self.pool.bound
    }

    /// What a failure on this connection means.
    pub(crate) fn failed(&self, error: &tokio_postgres::Error) -> Error {
        if is_link(error) {
            self.pool.distrust();
        }
        if is_of_session(error) {
            self.spoilt.store(true, Ordering::Relaxed);
        }
        classify(error, self.stage)
    }

    /// The server neither answered nor gave up.
    pub(crate) fn late(&self) -> Error {
        self.pool.distrust();
        let ms = self.pool.bound.as_millis();
        Error::Unavailable(format!("the server did not answer within {ms} ms"))
    }

    /// Gives the connection back to the pool, unless its session is in doubt. Only for one that is
    /// in no transaction.
    pub(crate) fn keep(mut self) {
        if self.spoilt.load(Ordering::Relaxed) {
            self.cancel = false;
            return;
        }
        drop(self.object.take());
        self.pool.count();
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            let client = Object::take(object);
            if self.cancel && !client.is_closed() {
                self.pool.cancel(client.cancel_token());
            }
            drop(client);
            self.pool.count();
        }
    }
}
