//! What has to be done now and then for every open queue of a provider: saying that its process lives, and looking
//! at the memory of Redis.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// How often the memory of Redis is looked at.
const MEMORY_EVERY: Duration = Duration::from_secs(1);
/// When nothing is due, and only a queue that joins changes that.
const NOTHING_DUE: Duration = Duration::from_secs(3_600);

/// How much memory Redis uses, and its bound (0: none), in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) used: u64,
    pub(crate) maxmemory: u64,
}

/// An open queue.
#[async_trait]
pub(crate) trait Kept: Send + Sync + 'static {
    /// When its next beat is due; none while it is no member, or while a beat is under way.
    fn beat_at(&self) -> Option<Instant>;

    /// A beat is under way from now on.
    fn begin_beat(&self);

    /// Says that the process lives, and when it wants to say so again.
    async fn beat_once(&self);

    /// Asks how much memory is used where the queue lies; none if it is not told.
    async fn ask_memory(&self) -> Option<Memory>;

    /// So much is used.
    fn told_memory(&self, memory: Memory);
}

/// The open queues of a provider.
#[derive(Default)]
pub(crate) struct Queues {
    all: Mutex<Vec<Weak<dyn Kept>>>,
    /// Another time is due next.
    changed: Notify,
}

impl Queues {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<dyn Kept>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, queue: Weak<dyn Kept>) {
        self.all().push(queue);
    }

    /// Forgets those that are gone.
    pub(crate) fn forget_gone(&self) {
        self.all().retain(|queue| queue.strong_count() > 0);
    }

    /// Some queue wants its beat at another time.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    fn open(&self) -> Vec<Arc<dyn Kept>> {
        self.all().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Beats for every queue that is a member. Each beat is by itself, so that one queue whose claim is slow keeps no
/// other from being heard of.
pub(crate) async fn beat(queues: Arc<Queues>) {
    let mut beats = JoinSet::new();
    loop {
        let now = Instant::now();
        let mut next = now + NOTHING_DUE;
        for queue in queues.open() {
            match queue.beat_at() {
                Some(at) if at <= now => {
                    queue.begin_beat();
                    beats.spawn(async move { queue.beat_once().await });
                }
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        tokio::select! {
            () = queues.changed.notified() => {}
            _ = beats.join_next(), if !beats.is_empty() => {}
            () = sleep_until(next) => {}
        }
    }
}

/// Looks at the memory of Redis for all queues, now and then.
pub(crate) async fn watch_memory(queues: Arc<Queues>, cluster: bool) {
    for turn in 0_usize.. {
        // Nothing is held of them between two looks: one that is dropped is gone at once.
        look_at_memory(queues.open(), cluster, turn).await;
        sleep(MEMORY_EVERY).await;
    }
}

/// On one server what one queue is told holds for all; in a cluster each asks the node it lies on.
async fn look_at_memory(open: Vec<Arc<dyn Kept>>, cluster: bool, turn: usize) {
    if cluster {
        let mut asked = JoinSet::new();
        for queue in open {
            asked.spawn(async move {
                if let Some(memory) = queue.ask_memory().await {
                    queue.told_memory(memory);
                }
            });
        }
        while asked.join_next().await.is_some() {}
    } else if !open.is_empty() {
        // In turn: a user may be kept from the keys of one of them.
        if let Some(memory) = open[turn % open.len()].ask_memory().await {
            open.iter().for_each(|queue| queue.told_memory(memory));
        }
    }
}
