//! What the steps of a buffer and its tasks share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buffer::Error;
use model::clock::{Clock, System};
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

use crate::Options;
use crate::api::{About, Told};
use crate::client::{Client, Failure};
use crate::room::Room;
use crate::state::State;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) queue: String,
    pub(crate) dead: String,
    state: Mutex<State>,
    room: Mutex<Room>,
    /// One look at a time.
    pub(crate) looking: tokio::sync::Mutex<()>,
    /// One walk through the dead letters at a time: two would hide letters from each other.
    pub(crate) walking: tokio::sync::Mutex<()>,
    /// What the queue said of itself when it was opened.
    pub(crate) opened: OnceCell<About>,
    /// Something may be there to lease, or room to lease more.
    pub(crate) changed: Notify,
    /// The keeper has something new to look at.
    pub(crate) kept: Notify,
    closed: AtomicBool,
    dropped: AtomicBool,
}

impl Shared {
    /// # Errors
    /// [`Error::Open`] if the options can't be used.
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        options.validate()?;
        let visibility = Duration::from_secs(options.visibility_seconds());
        let lease = Duration::from_millis(options.visibility_ms.unsigned_abs());
        Ok(Self {
            client: Client::new(&options)?,
            queue: options.queue_url(),
            dead: options.dead_url(),
            state: Mutex::new(State::new(visibility, lease, System.now_ms())),
            room: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            walking: tokio::sync::Mutex::default(),
            opened: OnceCell::new(),
            changed: Notify::new(),
            kept: Notify::new(),
            closed: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            options,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn visibility(&self) -> Duration {
        Duration::from_secs(self.options.visibility_seconds())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether it was closed before.
    pub(crate) fn set_closed(&self) -> bool {
        self.closed.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn set_dropped(&self) {
        self.dropped.store(true, Ordering::SeqCst);
        self.kept.notify_one();
    }

    /// Makes sure that both queues are there, once.
    pub(crate) async fn ensure_open(&self) -> Result<&About, Error> {
        let opened = self.opened.get_or_try_init(|| async {
            self.present(&self.dead, &self.options.dead).await?;
            self.present(&self.queue, &self.options.queue).await
        });
        opened.await.map_err(Failure::error)
    }

    async fn present(&self, url: &str, name: &str) -> Result<About, Failure> {
        match self.client.about(url).await {
            Err(missing) if self.options.create && is_missing(&missing) => {
                let seconds = self.options.visibility_seconds();
                let bytes = self.options.message_bytes_max;
                self.client.create(name, seconds, bytes).await?;
                self.client.about(url).await
            }
            found => found,
        }
    }

    /// Gives back what these handles name, to be received at once. What can't be is shown again when
    /// its time is over.
    pub(crate) async fn give_back(&self, handles: Vec<String>) {
        if handles.is_empty() {
            return;
        }
        let handles: Vec<_> = handles.into_iter().map(|handle| (handle, 0)).collect();
        let told = self.client.hide(&self.queue, &handles).await;
        let failed = told.iter().find(|told| matches!(told, Told::Failed(_)));
        if let Some(Told::Failed(why)) = failed {
            tracing::warn!(%why, "sqs was not told that messages are free; their time has to run out");
        }
    }

    /// How many messages there are, as far as SQS and we know: looked up if the last look is older
    /// than `max_age`.
    pub(crate) async fn look(&self, max_age: Duration) -> Result<(), Failure> {
        let fresh = |shared: &Self| {
            let looked_at = shared.room().looked_at();
            looked_at.is_some_and(|at| Instant::now().duration_since(at) < max_age)
        };
        if fresh(self) {
            return Ok(());
        }
        let _one = self.looking.lock().await;
        if fresh(self) {
            return Ok(());
        }
        let look = self.room().begin();
        let about = self.client.about(&self.queue).await?;
        let count = about.visible + about.delayed + about.in_flight;
        self.room().counted(look, count, Instant::now());
        Ok(())
    }
}

fn is_missing(failure: &Failure) -> bool {
    failure.is("QueueDoesNotExist") || failure.is("NonExistentQueue")
}

/// A refusal that names the bound.
pub(crate) fn full(bound: String) -> Error {
    Error::Full { bound, retry_after: Duration::from_secs(1) }
}
