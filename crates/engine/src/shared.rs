//! What the tasks of one engine share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use buffer::Buffer;
use model::clock::Clock;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::calls::Quiet;
use crate::completion::Progress;
use crate::held::Held;
use crate::leftover::Leftover;
use crate::load::Load;
use crate::{Options, Stats};

pub(crate) struct Shared {
    pub(crate) buffer: Arc<dyn Buffer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) stats: Arc<Stats>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) load: Arc<Load>,
    pub(crate) leftover: Arc<Leftover>,
    pub(crate) quiet: Arc<Quiet>,
    pub(crate) calls: Calls,
    /// One for each lane.
    pub(crate) held: Vec<Held>,
    /// One permit for each event that may still be leased. Only the dispatcher takes them, and only
    /// for what it has leased, so that all of them being there means that nothing is held.
    pub(crate) room: Semaphore,
    /// Locked from the start of a lease until its events are in the queues of their lanes. The holder
    /// of the lock knows that no event is on its way to a lane.
    pub(crate) leasing: Mutex<()>,
    /// Nothing more may be leased.
    pub(crate) stop: CancellationToken,
    /// No lane may start anything more, nor wait for what it has started.
    pub(crate) abandon: CancellationToken,
    /// The engine has ended.
    pub(crate) ended: CancellationToken,
}

/// The calls to the handler, numbered from 1 over all lanes.
#[derive(Default)]
pub(crate) struct Calls {
    begun: AtomicU64,
    /// The latest of those that settled something.
    wrote: AtomicU64,
}

impl Calls {
    /// A call begins; its number.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The number of the next call.
    pub(crate) fn upcoming(&self) -> u64 {
        self.begun.load(Ordering::SeqCst) + 1
    }

    pub(crate) fn wrote(&self, call: u64) {
        self.wrote.fetch_max(call, Ordering::SeqCst);
    }

    pub(crate) fn last_written(&self) -> u64 {
        self.wrote.load(Ordering::SeqCst)
    }
}

impl Shared {
    pub(crate) fn is_idle(&self) -> bool {
        self.held() == 0
    }

    /// Events that are leased, and neither done nor given back.
    pub(crate) fn held(&self) -> usize {
        self.options.held_max.saturating_sub(self.room.available_permits())
    }

    /// Waits this long; `false` when the engine gave up meanwhile.
    pub(crate) async fn pause(&self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.abandon.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}
