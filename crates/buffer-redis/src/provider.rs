//! What all queues of a process on one Redis share: connections, background tasks, one poll.
//!
//! A provider lives as long as some queue uses it: what finds it holds no more than a weak reference. Its tasks
//! begin with the first queue that is opened; looking at a buffer begins none.
//!
//! How queues keep out of each other's way:
//! - What is small (beats, looks, depth) has a connection of its own, behind no batch of events.
//! - Claims and offers go over [`SHARED`] connections, each queue over one of them. A reply on one is at most a
//!   claim's (16 MiB), so a queue waits for that much of every fourth queue at most.
//! - What waits in Redis itself shares no connection: `WAIT` and blocking reads.
//! - `connections=dedicated` shares none but the small one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::task::JoinHandle;

use crate::bell::ring;
use crate::connection::Connection;
use crate::keeper::{Kept, Queues, beat, watch_memory};
use crate::options::{Layout, Options, Poll, Server};
use crate::poll::{poll, poll_nodes};
use crate::watch::{Bell, Watch, Watches};

/// How many connections carry the events of all queues without connections of their own.
const SHARED: usize = 4;

/// Which queues share: those of one server with one database, user and password, that wait as long for a reply.
/// What a runtime began ends with it, so each has its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    server: Server,
    response_timeout_ms: u64,
    runtime: Option<Id>,
}

static PROVIDERS: LazyLock<Mutex<HashMap<Key, Weak<Provider>>>> = LazyLock::new(Mutex::default);

fn providers() -> MutexGuard<'static, HashMap<Key, Weak<Provider>>> {
    PROVIDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Provider {
    key: Key,
    control: Arc<Connection>,
    shared: [Arc<Connection>; SHARED],
    /// How many queues took one of them, so that each takes the next.
    taken: AtomicUsize,
    watches: Arc<Watches>,
    /// Of one server. In a cluster each stream has its own.
    bell: Arc<Bell>,
    queues: Arc<Queues>,
    /// None before the first queue was opened.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Provider {
    /// The one of these options' server.
    pub(crate) fn of(options: &Options) -> Arc<Self> {
        let key = Key {
            server: options.server.clone(),
            response_timeout_ms: options.response_timeout_ms,
            runtime: Handle::try_current().ok().map(|runtime| runtime.id()),
        };
        let mut providers = providers();
        if let Some(provider) = providers.get(&key).and_then(Weak::upgrade) {
            return provider;
        }
        let provider = Arc::new(Self::new(key.clone()));
        providers.insert(key, Arc::downgrade(&provider));
        provider
    }

    fn new(key: Key) -> Self {
        let response = Duration::from_millis(key.response_timeout_ms);
        let connection = || Arc::new(Connection::new(&key.server, response));
        Self {
            control: connection(),
            shared: std::array::from_fn(|_| connection()),
            taken: AtomicUsize::new(0),
            watches: Arc::default(),
            bell: Arc::default(),
            queues: Arc::default(),
            tasks: Mutex::default(),
            key,
        }
    }

    /// For what is asked and answered in few bytes.
    pub(crate) fn control(&self) -> &Arc<Connection> {
        &self.control
    }

    /// One of those that carry events, for one queue.
    pub(crate) fn shared(&self) -> Arc<Connection> {
        let next = self.taken.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.shared[next % SHARED])
    }

    /// One that nothing else uses.
    pub(crate) fn own(&self) -> Arc<Connection> {
        let response = Duration::from_millis(self.key.response_timeout_ms);
        Arc::new(Connection::new(&self.key.server, response))
    }

    /// What a queue of these options rests by. It is looked at once the queue is opened.
    pub(crate) fn watch(&self, options: &Options) -> Arc<Watch> {
        let stream = matches!(options.layout, Layout::Stream { .. });
        let blocking = options.poll == Poll::Blocking;
        if blocking && !stream {
            tracing::warn!("poll=blocking is for streams; this list is polled");
        }
        let bell = match (blocking && stream, self.key.server.cluster) {
            (false, _) => None,
            (true, false) => Some(Arc::clone(&self.bell)),
            (true, true) => Some(Arc::default()),
        };
        Arc::new(Watch::new(Arc::clone(&self.watches), bell))
    }

    /// Some queue wants its beat at another time.
    pub(crate) fn beats_changed(&self) {
        self.queues.changed();
    }

    /// Looks at this queue, beats for it, and listens for it, until the answer is dropped.
    pub(crate) fn open(self: &Arc<Self>, queue: Weak<dyn Kept>, watch: &Arc<Watch>) -> Open {
        let cluster = self.key.server.cluster;
        let mut tasks = self.tasks();
        if tasks.is_empty() {
            let (watches, queues) = (&self.watches, &self.queues);
            let (polled, control) = (Arc::clone(watches), Arc::clone(&self.control));
            *tasks = vec![
                if cluster {
                    tokio::spawn(poll_nodes(polled, control))
                } else {
                    tokio::spawn(poll(polled, control))
                },
                tokio::spawn(beat(Arc::clone(queues))),
                tokio::spawn(watch_memory(Arc::clone(queues), cluster)),
            ];
            if !cluster {
                tasks.push(self.ring(&self.bell));
            }
        }
        drop(tasks);
        self.queues.add(queue);
        self.watches.add(watch);
        let bell = watch.bell().filter(|_| cluster).map(|bell| self.ring(bell));
        Open { provider: Arc::clone(self), watch: Arc::clone(watch), bell }
    }

    fn ring(&self, bell: &Arc<Bell>) -> JoinHandle<()> {
        let server = self.key.server.clone();
        tokio::spawn(ring(Arc::clone(&self.watches), Arc::clone(bell), server))
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        for task in self.tasks().drain(..) {
            task.abort();
        }
        // Another may have taken its place meanwhile.
        let mut providers = providers();
        if providers.get(&self.key).is_some_and(|provider| provider.strong_count() == 0) {
            providers.remove(&self.key);
        }
    }
}

/// An open queue at its provider.
pub(crate) struct Open {
    provider: Arc<Provider>,
    watch: Arc<Watch>,
    /// In a cluster.
    bell: Option<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(bell) = &self.bell {
            bell.abort();
        }
        self.provider.watches.remove(&self.watch);
        self.provider.queues.forget_gone();
    }
}
