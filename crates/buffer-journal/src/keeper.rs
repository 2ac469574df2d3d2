//! The thread that makes progress durable at an interval, and closes segments that grow old.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use buffer::Error;

/// Runs until stopped; stopping twice is stopping once.
pub(crate) struct Keeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Calls `step` every so often, unless `every_ms` is 0.
    pub(crate) fn start(
        every_ms: u64,
        step: impl FnMut() -> Result<(), Error> + Send + 'static,
    ) -> Self {
        let stop = Arc::new((Mutex::new(every_ms == 0), Condvar::new()));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new()
            .name("journal-keeper".into())
            .spawn(move || keep(step, &stopping, Duration::from_millis(every_ms)))
            .map_err(|e| tracing::error!(error = %e, "no thread to make progress durable; it is done on closing only"))
            .ok();
        Self { stop, thread: Mutex::new(thread) }
    }

    pub(crate) fn stop(&self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's keeper panicked");
        }
    }
}

fn keep(
    mut step: impl FnMut() -> Result<(), Error>,
    stop: &(Mutex<bool>, Condvar),
    every: Duration,
) {
    let (stopped, told) = stop;
    let mut stopping = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    while !*stopping {
        stopping = told.wait_timeout(stopping, every).unwrap_or_else(PoisonError::into_inner).0;
        if *stopping {
            break;
        }
        drop(stopping);
        if let Err(e) = step() {
            tracing::warn!(error = %e, "progress was not made durable; trying again");
        }
        stopping = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    }
}
