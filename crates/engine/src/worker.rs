//! One lane at work: gathers a batch, has it settled, retries, bisects, buries, acks.

mod apart;
mod attempt;
mod finish;
mod gather;
mod let_go;
mod steps;

use std::collections::VecDeque;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use buffer::Envelope;
use model::mask;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::backoff::{Backoff, is_said};
use crate::shared::Shared;
use crate::{Error, Handler, Lane, Outcome};
use apart::{Apart, Suspect};
use steps::{Next, Stop, Verdict};

/// A whole batch that failed is tried this often before it is bisected: most causes that pass do so
/// soon, and a bisection costs many transactions.
const BATCH_TRIES_MAX: u32 = 2;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    handler: Arc<dyn Handler>,
    index: usize,
    lane: Box<dyn Lane>,
    queue: mpsc::Receiver<Vec<Envelope>>,
    queue_ended: bool,
    /// Taken from the queue and not yet part of a batch.
    pending: VecDeque<Envelope>,
    apart: Apart,
    /// Whether an event that waits alone has its turn before a batch.
    alone_next: bool,
    /// Which of the pending events is the next to be tried by itself.
    probe_from: usize,
    backoff: Backoff,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        handler: Arc<dyn Handler>,
        index: usize,
        queue: mpsc::Receiver<Vec<Envelope>>,
        seed: u64,
    ) -> Self {
        let backoff = Backoff::new(&shared.options, seed);
        let lane = handler.lane();
        let apart = Apart::new(&shared.options);
        Self {
            shared,
            handler,
            index,
            lane,
            queue,
            queue_ended: false,
            pending: VecDeque::new(),
            apart,
            alone_next: false,
            probe_from: 0,
            backoff,
        }
    }

    /// Ends when the queue has ended and everything in it is settled, or when the engine gives up.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        while let Some(next) = self.next().await {
            self.shared.load.begin(self.index);
            let done = match next {
                Next::Batch(batch) => self.settle(batch).await,
                Next::Alone(suspect) => self.retry(suspect).await,
                Next::Probe(envelope) => self.try_pending(envelope).await,
                Next::LetGo => self.let_go().await,
            };
            self.shared.load.end(self.index);
            match done {
                Ok(()) => self.shared.load.batch_done(),
                Err(Stop::Abandoned) => return Ok(()),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits before the next try, which is no work; `false` when the engine gave up meanwhile.
    async fn pause(&mut self, pause: Duration) -> bool {
        self.shared.load.end(self.index);
        let go_on = self.shared.pause(pause).await;
        self.shared.load.begin(self.index);
        go_on
    }

    /// Settles a batch to its last event, in order: a part that can't be settled whole is halved,
    /// and the first half is done before the second is begun. What has to wait for an event that the
    /// store refuses is pending again afterwards.
    async fn settle(&mut self, batch: Vec<Envelope>) -> Result<(), Stop> {
        let all = batch.len();
        // The next part is on top.
        let mut parts = vec![batch];
        let mut behind = Vec::new();
        while let Some(mut events) = parts.pop() {
            self.apart.hold_back(&mut events, &mut behind);
            let tries_max = match events.len() {
                0 => continue,
                1 => self.shared.options.attempts_max,
                some if some == all => self.shared.options.attempts_max.min(BATCH_TRIES_MAX),
                _ => 1,
            };
            let started_at_ms = self.shared.clock.now_ms();
            match self.attempt(&events, tries_max).await? {
                Verdict::Done(outcomes) => self.finish(&events, outcomes, started_at_ms).await?,
                Verdict::Hopeless(reason) if events.len() == 1 => {
                    self.finish(&events, vec![Outcome::Rejected(reason)], started_at_ms).await?;
                }
                Verdict::Refused(reason) if events.len() == 1 => {
                    self.set_apart(events.remove(0), &reason);
                }
                Verdict::Hopeless(_) | Verdict::Refused(_) => {
                    let second = events.split_off(events.len() / 2);
                    parts.extend([second, events]);
                }
            }
        }
        for envelope in behind.into_iter().rev() {
            self.apart.given_back.put_first(&envelope);
            self.pending.push_front(envelope);
        }
        Ok(())
    }

    /// The store refused this event alone.
    fn set_apart(&mut self, envelope: Envelope, reason: &str) {
        let wait = self.backoff.after(1);
        let event = mask::id(envelope.event.id());
        let suspect = Suspect::new(envelope, self.shared.calls.upcoming());
        self.apart.put(suspect, Instant::now() + wait);
        let waiting = self.shared.stats.waits_alone(1);
        if is_said(waiting) {
            let (lane, pipeline) = (self.index, self.handler.pipeline());
            tracing::warn!(
                lane,
                pipeline,
                event,
                waiting,
                reason,
                "the store refuses an event; it waits alone"
            );
        }
    }

    /// Tries an event again that waits alone.
    async fn retry(&mut self, mut suspect: Suspect) -> Result<(), Stop> {
        if !self.is_leased(&suspect.envelope).await {
            self.lose(suspect);
            return Ok(());
        }
        let started_at_ms = self.shared.clock.now_ms();
        let alone = slice::from_ref(&suspect.envelope);
        let outcomes = match self.attempt(alone, self.shared.options.attempts_max).await? {
            Verdict::Done(outcomes) => outcomes,
            Verdict::Hopeless(reason) => vec![Outcome::Rejected(reason)],
            Verdict::Refused(reason) => {
                suspect.tries = suspect.tries.saturating_add(1);
                let tries = suspect.tries;
                let had_all = tries >= self.shared.options.attempts_max;
                if !had_all || !suspect.others_were_written(self.shared.calls.last_written()) {
                    self.wait_on(suspect, had_all, &reason);
                    return Ok(());
                }
                self.lane.buried(&suspect.envelope);
                let reason = format!("{reason}; refused {tries} times while others were written");
                vec![Outcome::Rejected(reason)]
            }
        };
        self.apart.free(&suspect.envelope);
        self.shared.stats.waits_alone(-1);
        self.finish(slice::from_ref(&suspect.envelope), outcomes, started_at_ms).await
    }

    /// Another worker decides about this event.
    fn lose(&mut self, suspect: Suspect) {
        self.apart.free(&suspect.envelope);
        self.shared.stats.waits_alone(-1);
        self.apart.lose(&suspect.envelope);
        self.pending.push_front(suspect.envelope);
    }

    fn wait_on(&mut self, suspect: Suspect, had_all: bool, reason: &str) {
        let wait = self.backoff.after(suspect.tries);
        let next = Instant::now() + wait;
        if had_all {
            self.apart.probe_at = next;
            if is_said(suspect.tries) {
                let (lane, pipeline) = (self.index, self.handler.pipeline());
                let event = mask::id(suspect.envelope.event.id());
                tracing::warn!(
                    lane,
                    pipeline,
                    event,
                    tries = suspect.tries,
                    reason,
                    "the store refuses an event and has written none since; nothing is buried"
                );
            }
        }
        self.apart.put(suspect, next);
    }

    /// Tries one pending event by itself, to learn whether the store takes any.
    async fn try_pending(&mut self, envelope: Envelope) -> Result<(), Stop> {
        let started_at_ms = self.shared.clock.now_ms();
        let alone = slice::from_ref(&envelope);
        let outcomes = match self.attempt(alone, self.shared.options.attempts_max).await? {
            Verdict::Done(outcomes) => outcomes,
            Verdict::Hopeless(reason) => vec![Outcome::Rejected(reason)],
            Verdict::Refused(_) => {
                let wait = self.backoff.after(self.shared.options.attempts_max);
                self.apart.probe_at = Instant::now() + wait;
                return Ok(());
            }
        };
        self.pending.retain(|pending| pending.receipt != envelope.receipt);
        self.apart.admit(&envelope);
        self.finish(slice::from_ref(&envelope), outcomes, started_at_ms).await
    }
}
