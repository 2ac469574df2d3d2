//! The thread that makes progress durable at an interval, and closes segments that grow old. It sleeps while there is
//! nothing to keep, so that idle journals cost nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use buffer::Error;

/// Wakes a keeper.
#[derive(Default)]
pub(crate) struct Waker {
    state: Mutex<State>,
    told: Condvar,
    /// The keeper sleeps, or is about to if it finds nothing.
    asleep: AtomicBool,
}

#[derive(Default)]
struct State {
    stopping: bool,
    wanted: bool,
}

impl Waker {
    /// There may be something to keep. To be called after what there is can be seen; one look at a flag while the
    /// keeper is awake.
    pub(crate) fn wake(&self) {
        if self.is_asleep() {
            self.state().wanted = true;
            self.told.notify_all();
        }
    }

    /// Whether the keeper found nothing to keep, and looks at nothing.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.state().stopping = true;
        self.told.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps while there is nothing to keep, and then for `every`; false if the keeper is to stop.
    fn wait(&self, every: Duration, is_idle: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        state.wanted = false;
        // Said before it looks: what comes after the look wakes it.
        self.asleep.store(true, Ordering::SeqCst);
        if is_idle() {
            let waits = |state: &mut State| !state.stopping && !state.wanted;
            state = self.told.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.store(false, Ordering::SeqCst);
        let waits = |state: &mut State| !state.stopping;
        let waited = self.told.wait_timeout_while(state, every, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }
}

/// What a keeper keeps.
pub(crate) trait Kept: Send + 'static {
    /// Whether a step would do nothing.
    fn is_idle(&self) -> bool;

    /// Makes progress durable.
    ///
    /// # Errors
    /// If it can't be; the next step tries again.
    fn step(&mut self) -> Result<(), Error>;
}

/// Runs until stopped; stopping twice is stopping once.
pub(crate) struct Keeper {
    waker: Arc<Waker>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Takes a step every so often while there is something to keep, unless `every_ms` is 0.
    pub(crate) fn start(every_ms: u64, waker: Arc<Waker>, mut kept: impl Kept) -> Self {
        let (waking, every) = (waker.clone(), Duration::from_millis(every_ms));
        let keep = move || {
            while waking.wait(every, || kept.is_idle()) {
                if let Err(e) = kept.step() {
                    tracing::warn!(error = %e, "progress was not made durable; trying again");
                }
            }
        };
        let start = || std::thread::Builder::new().name("journal-keeper".into()).spawn(keep);
        let failed = |e| {
            tracing::error!(error = %e, "no thread to make progress durable; it is done on closing only");
        };
        let thread = (every_ms > 0).then(start).and_then(|started| started.map_err(failed).ok());
        Self { waker, thread: Mutex::new(thread) }
    }

    pub(crate) fn stop(&self) {
        self.waker.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's keeper panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::*;

    /// Longer than a step takes to come, on a busy machine too.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Counting {
        left: Arc<AtomicUsize>,
        steps: Arc<AtomicUsize>,
    }

    impl Kept for Counting {
        fn is_idle(&self) -> bool {
            self.left.load(Ordering::SeqCst) == 0
        }

        fn step(&mut self) -> Result<(), Error> {
            self.left.fetch_sub(1, Ordering::SeqCst);
            self.steps.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[test]
    fn a_keeper_steps_while_there_is_something_and_sleeps_without() {
        let (left, steps) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waker = Arc::<Waker>::default();
        let kept = Counting { left: left.clone(), steps: steps.clone() };
        let keeper = Keeper::start(1, waker.clone(), kept);
        for more in 1..100 {
            left.fetch_add(more, Ordering::SeqCst);
            waker.wake();
            let end = Instant::now() + PATIENCE;
            while left.load(Ordering::SeqCst) > 0 || !waker.is_asleep() {
                assert!(Instant::now() < end, "{left:?} left after {steps:?} steps");
                std::thread::yield_now();
            }
        }
        // One step more would go below 0.
        assert_eq!(steps.load(Ordering::SeqCst), (1..100).sum::<usize>());
        keeper.stop();
        keeper.stop();
    }
}
