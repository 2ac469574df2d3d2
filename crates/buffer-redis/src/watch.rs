//! What a queue that waits would be woken by. The poll and the bell look at all queues of a provider that
//! rest; a queue rests once a claim has found nothing.
//!
//! A look only tells that a claim is worth its while: it takes nothing. It asks for what is there, and not for
//! what changed, so that nothing that comes between a claim and the next look is missed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Cmd;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// What is looked at for one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing in Redis can bring work just now.
    Nothing,
    /// Keys that exist once there is something.
    Keys(Vec<String>),
    /// Streams, each with the entry past which there is something.
    Streams(Vec<(String, String)>),
}

impl Look {
    /// Some key of the queue; all of them lie in one slot.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Keys(keys) => keys.first().map(String::as_str),
            Self::Streams(streams) => streams.first().map(|(key, _)| key.as_str()),
        }
    }

    /// Asks for this queue alone.
    pub(crate) fn cmd(&self) -> Option<Cmd> {
        match self {
            Self::Nothing => None,
            Self::Keys(keys) => Some(exists(keys.iter())),
            Self::Streams(streams) => Some(read(streams.iter(), None)),
        }
    }
}

/// Replies with how many of these keys exist.
pub(crate) fn exists<'a>(keys: impl Iterator<Item = &'a String>) -> Cmd {
    let mut cmd = redis::cmd("EXISTS");
    for key in keys {
        cmd.arg(key);
    }
    cmd
}

/// Replies with the first entry of each of these streams that has one past what is given; waits for one, up to
/// `block_ms`.
pub(crate) fn read<'a>(
    streams: impl Iterator<Item = &'a (String, String)> + Clone,
    block_ms: Option<u64>,
) -> Cmd {
    let mut cmd = redis::cmd("XREAD");
    cmd.arg("COUNT").arg(1);
    if let Some(block_ms) = block_ms {
        cmd.arg("BLOCK").arg(block_ms);
    }
    cmd.arg("STREAMS");
    for (key, _) in streams.clone() {
        cmd.arg(key);
    }
    for (_, after) in streams {
        cmd.arg(after);
    }
    cmd
}

/// A queue at rest.
struct Rest {
    look: Arc<Look>,
    until: Instant,
    /// A blocking read includes it.
    belled: bool,
}

/// A blocking read for one or more queues.
#[derive(Default)]
pub(crate) struct Bell {
    /// It waits for a queue to listen for.
    pub(crate) listens: AtomicBool,
    /// Some queue began to rest.
    pub(crate) wanted: Notify,
}

/// One queue, as the poll and the bell see it.
pub(crate) struct Watch {
    rest: Mutex<Option<Rest>>,
    /// How often it was woken.
    wakes: AtomicU64,
    /// Something may have become ready, or a shard ours, or the buffer closed.
    changed: Notify,
    /// Where it is looked at; nowhere unless it was added to some.
    watches: Arc<Watches>,
    watched: AtomicBool,
    /// Whose blocking read may look instead of the poll.
    bell: Option<Arc<Bell>>,
}

impl Watch {
    pub(crate) fn new(watches: Arc<Watches>, bell: Option<Arc<Bell>>) -> Self {
        Self {
            rest: Mutex::default(),
            wakes: AtomicU64::new(0),
            changed: Notify::new(),
            watches,
            watched: AtomicBool::new(false),
            bell,
        }
    }

    /// The bell that may listen for it.
    pub(crate) fn bell(&self) -> Option<&Arc<Bell>> {
        self.bell.as_ref()
    }

    fn state(&self) -> MutexGuard<'_, Option<Rest>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves at the next [`Watch::wake`] after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Whether somebody looks at it while it rests.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// Whether a blocking read would look at it at once.
    pub(crate) fn is_heard(&self) -> bool {
        let listens = self.bell.as_ref().is_some_and(|bell| bell.listens.load(Ordering::Acquire));
        listens && self.is_watched()
    }

    /// Until when there is no need to claim.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.state().as_ref().map(|rest| rest.until).filter(|until| *until > Instant::now())
    }

    /// Whether nothing has woken it since it began to rest, also once the rest has ended.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.state().is_some()
    }

    /// How often it was woken until now.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Acquire)
    }

    /// A claim found nothing: it is looked at until then, or until something wakes it. Does nothing if it was
    /// woken since it had been woken `wakes` times: the claim may have missed what woke it.
    pub(crate) fn rest(&self, look: Look, until: Instant, wakes: u64) {
        {
            let mut state = self.state();
            if self.wakes() != wakes {
                return;
            }
            *state = Some(Rest { look: Arc::new(look), until, belled: false });
        }
        self.watches.changed();
        if let Some(bell) = &self.bell {
            bell.wanted.notify_one();
        }
    }

    /// There may be something to claim.
    pub(crate) fn wake(&self) {
        let rested = {
            let mut state = self.state();
            self.wakes.fetch_add(1, Ordering::AcqRel);
            state.take().is_some()
        };
        if rested {
            self.watches.changed();
        }
        self.changed.notify_waiters();
    }

    /// As [`Watch::wake`], unless it has been woken since this look was begun.
    pub(crate) fn wake_from(&self, look: &Arc<Look>) {
        let same = self.state().as_ref().is_some_and(|rest| Arc::ptr_eq(&rest.look, look));
        if same {
            self.wake();
        }
    }
}

/// A queue, and what is looked at for it.
pub(crate) type Resting = (Arc<Watch>, Arc<Look>);

/// The queues that are looked at together.
#[derive(Default)]
pub(crate) struct Watches {
    all: Mutex<Vec<Arc<Watch>>>,
    /// Changes when some queue begins to rest or is woken.
    version: AtomicU64,
    /// Some queue began to rest.
    pub(crate) rested: Notify,
}

impl Watches {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Watch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, watch: &Arc<Watch>) {
        self.all().push(Arc::clone(watch));
        watch.watched.store(true, Ordering::Release);
    }

    /// It is looked at no longer, and whatever waits for it claims for itself.
    pub(crate) fn remove(&self, watch: &Arc<Watch>) {
        watch.watched.store(false, Ordering::Release);
        self.all().retain(|one| !Arc::ptr_eq(one, watch));
        watch.wake();
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.rested.notify_one();
    }

    /// Those that rest and that no blocking read includes.
    pub(crate) fn resting(&self) -> Vec<Resting> {
        let unheard = |rest: &Rest| !rest.belled && *rest.look != Look::Nothing;
        self.pick(|_, rest| unheard(rest))
    }

    /// Those that rest and that this bell's read is to include; the poll leaves them to it from now on.
    pub(crate) fn to_hear(&self, bell: &Arc<Bell>) -> Vec<Resting> {
        let picked = self.pick(|watch, rest| {
            let its = watch.bell.as_ref().is_some_and(|its| Arc::ptr_eq(its, bell));
            let hears = its && matches!(*rest.look, Look::Streams(_));
            rest.belled |= hears;
            hears
        });
        if !picked.is_empty() {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        picked
    }

    /// The blocking read that included these is over.
    pub(crate) fn heard(&self, resting: &[Resting]) {
        for (watch, look) in resting {
            if let Some(rest) = watch.state().as_mut()
                && Arc::ptr_eq(&rest.look, look)
            {
                rest.belled = false;
            }
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        self.rested.notify_one();
    }

    fn pick(&self, mut is: impl FnMut(&Watch, &mut Rest) -> bool) -> Vec<Resting> {
        let mut picked = Vec::new();
        for watch in self.all().iter() {
            if let Some(rest) = watch.state().as_mut()
                && is(watch, rest)
            {
                picked.push((Arc::clone(watch), Arc::clone(&rest.look)));
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_queue_that_is_woken_during_a_claim_does_not_rest_after_it() {
        let watch = Watch::new(Arc::default(), None);
        let until = Instant::now() + Duration::from_secs(5);
        let wakes = watch.wakes();
        watch.wake();
        watch.rest(Look::Nothing, until, wakes);
        assert_eq!(watch.rests_until(), None);
        watch.rest(Look::Nothing, until, watch.wakes());
        assert!(watch.is_undisturbed());
        assert_eq!(watch.rests_until(), Some(until));
        watch.wake();
        assert!(!watch.is_undisturbed());
        assert_eq!(watch.rests_until(), None);
    }
}
