//! One lane at work: gathers a batch, has it settled, retries, bisects, buries, acks.

mod attempt;
mod finish;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use buffer::Envelope;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::shared::Shared;
use crate::{Error, Lane, Outcome};
use attempt::Verdict;

/// A whole batch that failed is tried this often before it is bisected: most causes that pass do so
/// soon, and a bisection costs many transactions.
const BATCH_TRIES_MAX: u32 = 2;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    lane: Box<dyn Lane>,
    queue: mpsc::Receiver<Vec<Envelope>>,
    /// Taken from the queue and not yet part of a batch.
    pending: VecDeque<Envelope>,
    backoff: Backoff,
}

/// Why a lane stops in the middle of a batch. What is not done is still held.
enum Stop {
    /// The engine gave up waiting.
    Abandoned,
    /// Nothing further can be trusted.
    Failed(Error),
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        index: usize,
        queue: mpsc::Receiver<Vec<Envelope>>,
        seed: u64,
    ) -> Self {
        let backoff = Backoff::new(&shared.options, seed);
        let lane = shared.handler.lane();
        Self { shared, index, lane, queue, pending: VecDeque::new(), backoff }
    }

    /// Ends when the queue has ended and everything in it is settled, or when the engine gives up.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut batch = Vec::new();
        loop {
            self.gather(&mut batch).await;
            if batch.is_empty() {
                return Ok(());
            }
            self.shared.load.begin(self.index);
            let settled = self.settle(&batch).await;
            self.shared.load.end(self.index);
            match settled {
                Ok(()) => {
                    self.shared.load.batch_done();
                    batch.clear();
                }
                Err(Stop::Abandoned) => return Ok(()),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    /// Fills `batch` with what there is, up to `batch_max`. Leaves it empty at the end.
    async fn gather(&mut self, batch: &mut Vec<Envelope>) {
        let batch_max = self.shared.options.batch_max;
        if self.pending.is_empty() {
            tokio::select! {
                biased;
                () = self.shared.abandon.cancelled() => return,
                chunk = self.queue.recv() => self.pending.extend(chunk.into_iter().flatten()),
            }
        }
        self.take_queued();
        // A quarter of a batch is worth a transaction of its own; a few events are worth a wait.
        if self.shared.options.linger_ms > 0 && self.pending.len() < batch_max.div_ceil(4) {
            self.linger().await;
        }
        batch.extend(self.pending.drain(..self.pending.len().min(batch_max)));
    }

    fn take_queued(&mut self) {
        while self.pending.len() < self.shared.options.batch_max
            && let Ok(chunk) = self.queue.try_recv()
        {
            self.pending.extend(chunk);
        }
    }

    async fn linger(&mut self) {
        let end = Instant::now() + Duration::from_millis(self.shared.options.linger_ms);
        while self.pending.len() < self.shared.options.batch_max
            && let Ok(Some(chunk)) = timeout_at(end, self.queue.recv()).await
        {
            self.pending.extend(chunk);
        }
    }

    /// Waits before the next try, which is no work; `false` when the engine gave up meanwhile.
    async fn pause(&mut self, pause: Duration) -> bool {
        self.shared.load.end(self.index);
        let go_on = self.shared.pause(pause).await;
        self.shared.load.begin(self.index);
        go_on
    }

    /// Settles a batch to its last event, in order: a part that can't be settled whole is halved,
    /// and the first half is done before the second is begun.
    async fn settle(&mut self, batch: &[Envelope]) -> Result<(), Stop> {
        let whole: Range<usize> = 0..batch.len();
        // The next part is on top.
        let mut parts = vec![whole];
        while let Some(part) = parts.pop() {
            let events = &batch[part.clone()];
            let tries_max = match events.len() {
                1 => self.shared.options.attempts_max,
                all if all == batch.len() => self.shared.options.attempts_max.min(BATCH_TRIES_MAX),
                _ => 1,
            };
            let started_at_ms = self.shared.clock.now_ms();
            match self.attempt(events, tries_max).await? {
                Verdict::Done(outcomes) => self.finish(events, outcomes, started_at_ms).await?,
                Verdict::Hopeless(reason) if events.len() == 1 => {
                    self.finish(events, vec![Outcome::Rejected(reason)], started_at_ms).await?;
                }
                Verdict::Hopeless(_) => {
                    let middle = part.start + events.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
            }
        }
        Ok(())
    }
}
