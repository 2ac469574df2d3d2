//! Which processes settle into a store: one alone, or several that know of one another.
//!
//! The claim is an advisory lock, exclusive or shared, that a connection of its own holds. When that
//! connection breaks, the lock is the server's to give to somebody else, so nothing is settled until
//! it is taken again. That alone would not do: between the two another process may have come, have
//! settled, and have gone. So each process that claims the store begins a new *term*, a number in
//! the table `settling_term`, and one that has the store for itself settles only in its own: each
//! batch reads the term in its own transaction, and a term that is another's ends it for good.

use std::fmt;
use std::time::Duration;

use store::Error;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::SimpleQueryMessage;

use crate::error::{Stage, classify};
use crate::link::{Link, one, within};
use crate::options::Role;
use crate::schema::Schema;
use crate::settings::BEGIN;
use crate::{Options, pooler, tls};

/// How often the connection is probed.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How long a probe may take. With the pause before it, that is far below the half minute after
/// which the server gives up a silent connection, and the lock with it.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// Between two attempts to get a lock that is held, or a connection that broke.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// A claim on a store, held until it is released or dropped.
pub(crate) struct Claim {
    /// The term that batches have to be settled in, where no other process may settle.
    term: Option<i64>,
    /// The term that this process began: no other process has it.
    owner: i64,
    state: watch::Receiver<State>,
    keeper: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

#[derive(Debug, Clone)]
enum State {
    Held,
    /// Not at the moment; why.
    Lost(String),
    /// Never again: another process has settled.
    Superseded,
}

/// What came of trying to take the claim again.
enum Attempt {
    Taken(Link),
    Refused,
    Superseded,
}

/// What the keeper needs to take the claim again.
struct Keeper {
    options: Options,
    tls: tls::Connector,
    lock: String,
    unlock: String,
    read_term: String,
    begin_term: String,
    term: Option<i64>,
}

impl Claim {
    /// Claims the store, waiting for as long as connecting may take: a process that was just
    /// stopped may not be gone from the server yet.
    pub(crate) async fn take(
        options: &Options,
        schema: &Schema,
        tls: tls::Connector,
    ) -> Result<Self, Error> {
        let mut keeper = Keeper::new(options, schema, tls);
        let link = Link::open(options, Role::Work, keeper.tls.clone()).await?;
        let bound = options.patience();
        let end = Instant::now() + options.connect_timeout();
        while !within(bound, keeper.locked(&link)).await? {
            if Instant::now() >= end {
                return Err(Error::Fatal(if options.exclusive {
                    "another process settles into this store; stop it, or name another schema"
                        .into()
                } else {
                    "another process settles into this store, and alone; stop it, or start it with \
                     a buffer that is shared"
                        .into()
                }));
            }
            sleep(RETRY_EVERY).await;
        }
        let owner = within(bound, keeper.begin(&link)).await?;
        keeper.term = options.exclusive.then_some(owner);
        let term = keeper.term;
        let (say, state) = watch::channel(State::Held);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(keeper.keep(link, say, stopped));
        Ok(Self { term, owner, state, keeper: Mutex::new(Some((stop, task))) })
    }

    /// The term that a batch has to be settled in; `None` where others settle as well.
    pub(crate) fn term(&self) -> Result<Option<i64>, Error> {
        match &*self.state.borrow() {
            State::Held => Ok(self.term),
            State::Lost(why) => Err(Error::Unavailable(format!(
                "the claim on the store was lost and is not taken again yet: {why}"
            ))),
            State::Superseded => Err(superseded()),
        }
    }

    /// What fences of this process are known by.
    pub(crate) fn owner(&self) -> i64 {
        self.owner
    }

    /// Gives the claim back.
    pub(crate) async fn release(&self) {
        if let Some((stop, task)) = self.keeper.lock().await.take() {
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

/// What is to be said once another process has settled.
pub(crate) fn superseded() -> Error {
    Error::Fatal(
        "another process settles into this store, or has meanwhile; stop it and start this one again"
            .into(),
    )
}

impl Keeper {
    fn new(options: &Options, schema: &Schema, tls: tls::Connector) -> Self {
        let key = schema.lock_key("settle");
        let mode = if options.exclusive { "" } else { "_shared" };
        Self {
            options: options.clone(),
            tls,
            lock: format!("SELECT pg_try_advisory_lock{mode}({key})"),
            unlock: format!("SELECT pg_advisory_unlock{mode}({key})"),
            read_term: format!("SELECT term FROM {schema}.settling_term"),
            begin_term: format!(
                "{BEGIN}; SELECT pg_catalog.pg_advisory_xact_lock({}); \
                 UPDATE {schema}.settling_term SET term = term + 1 RETURNING term; COMMIT",
                schema.lock_key("term")
            ),
            term: None,
        }
    }

    /// Begins a term, once no batch of an earlier one is on its way: each holds the lock, shared, from
    /// before it reads the term until it is committed.
    async fn begin(&self, link: &Link) -> Result<i64, Error> {
        let answer = link.client.simple_query(&self.begin_term).await;
        let answer = answer.map_err(|error| classify(&error, Stage::Open))?;
        let term = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        term.ok_or_else(|| Error::Fatal("its table settling_term is empty; restore it".into()))
    }

    async fn locked(&self, link: &Link) -> Result<bool, Error> {
        Ok(one(&link.client, &self.lock, &[]).await?.get(0))
    }

    /// Holds the claim until it is told to stop, or whoever may tell it is gone.
    async fn keep(
        self,
        mut link: Link,
        say: watch::Sender<State>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            let why = tokio::select! {
                _ = &mut stopped => break,
                why = self.lost(&mut link) => why,
            };
            tracing::warn!(why, "the claim on the store is lost");
            say.send_replace(State::Lost(why));
            drop(link);
            let again = tokio::select! {
                _ = &mut stopped => return,
                again = self.again(&say) => again,
            };
            let Some(again) = again else {
                say.send_replace(State::Superseded);
                return;
            };
            link = again;
            tracing::info!("the claim on the store is taken again");
            say.send_replace(State::Held);
        }
        // The server would find out by itself, a moment later.
        let _ = timeout(PROBE_MAX, link.client.batch_execute(&self.unlock)).await;
    }

    /// Ends when the connection does, saying why.
    async fn lost(&self, link: &mut Link) -> String {
        loop {
            tokio::select! {
                _ = &mut link.task => return "its connection ended".into(),
                () = sleep(PROBE_EVERY) => {}
            }
            match timeout(PROBE_MAX, pooler::backend(&link.client)).await {
                Ok(Ok(backend)) if backend == link.backend => {}
                // The lock belongs to the session that it was taken in.
                Ok(Ok(_)) => return pooler::shared().to_string(),
                Ok(Err(error)) => return crate::error::text(&error),
                Err(_) => return "its connection is silent".into(),
            }
        }
    }

    /// The claim, taken again; `None` once the store is in a term that is not ours.
    async fn again(&self, say: &watch::Sender<State>) -> Option<Link> {
        loop {
            let why = match self.attempt().await {
                Ok(Attempt::Taken(link)) => return Some(link),
                Ok(Attempt::Superseded) => return None,
                // It may be our own old connection, which the server has not given up yet.
                Ok(Attempt::Refused) => "the lock on it is held".to_owned(),
                Err(error) => error.to_string(),
            };
            say.send_replace(State::Lost(why));
            sleep(RETRY_EVERY).await;
        }
    }

    async fn attempt(&self) -> Result<Attempt, Error> {
        let link = Link::open(&self.options, Role::Work, self.tls.clone()).await?;
        within(PROBE_MAX, async {
            let locked = self.locked(&link).await?;
            if let Some(ours) = self.term {
                let theirs: i64 = one(&link.client, &self.read_term, &[]).await?.get(0);
                if theirs != ours {
                    return Ok(Attempt::Superseded);
                }
            }
            Ok(if locked { Attempt::Taken(link) } else { Attempt::Refused })
        })
        .await
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("term", &self.term).finish_non_exhaustive()
    }
}
