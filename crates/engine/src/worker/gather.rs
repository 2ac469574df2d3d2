//! What a lane does next: a batch, an event that waits alone, or the end.

use std::collections::HashSet;
use std::time::Duration;

use buffer::{Envelope, Receipt};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Worker;
use super::steps::Next;
use crate::dispatcher::order_key;

impl Worker {
    /// `None` when the queue has ended and nothing waits, or when the engine gives up.
    pub(super) async fn next(&mut self) -> Option<Next> {
        loop {
            self.take_queued();
            let (now, written) = (Instant::now(), self.shared.calls.last_written());
            self.apart.expire(now);
            if self.apart.has_lost() {
                return Some(Next::LetGo);
            }
            // In turn, so that neither keeps the other waiting.
            let alone_first = std::mem::take(&mut self.alone_next);
            if alone_first && let Some(suspect) = self.apart.take_due(now, written) {
                return Some(Next::Alone(suspect));
            }
            if let Some(next) = self.pending_next(now).await {
                self.alone_next = true;
                return Some(next);
            }
            if let Some(suspect) = self.apart.take_due(now, written) {
                return Some(Next::Alone(suspect));
            }
            self.alone_next = alone_first;
            // What is pending then waits for events that are in the buffer, and goes back there.
            if self.queue_ended && self.apart.is_empty() {
                return None;
            }
            self.give_back_blocked().await;
            if !self.wait(now, written).await {
                return None;
            }
        }
    }

    /// Waits for events, or until one that waits alone is due; `false` when the engine gave up.
    async fn wait(&mut self, now: Instant, written: u64) -> bool {
        let due = self.apart.next_due(now, written);
        let due = due.into_iter().chain(self.apart.given_back.next_look()).min();
        tokio::select! {
            biased;
            () = self.shared.abandon.cancelled() => return false,
            chunk = self.queue.recv(), if !self.queue_ended => match chunk {
                Some(chunk) => self.pending.extend(chunk),
                None => self.queue_ended = true,
            },
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
        }
        true
    }

    async fn pending_next(&mut self, now: Instant) -> Option<Next> {
        if self.apart.is_full() {
            if self.apart.probe_at > now {
                return None;
            }
            return self.probe().map(Next::Probe);
        }
        let batch_max = self.shared.options.batch_max;
        let batch: Vec<Envelope> = if self.apart.blocks_nothing() {
            // A quarter of a batch is worth a transaction of its own; a few events are worth a wait.
            let few = self.pending.len() < batch_max.div_ceil(4);
            if few && !self.pending.is_empty() && self.shared.options.linger_ms > 0 {
                self.linger().await;
            }
            self.pending.drain(..self.pending.len().min(batch_max)).collect()
        } else {
            self.take_free(batch_max)
        };
        (!batch.is_empty()).then_some(Next::Batch(batch))
    }

    /// The first `max` pending events that no event waiting alone blocks.
    fn take_free(&mut self, max: usize) -> Vec<Envelope> {
        let mut free = Vec::new();
        let apart = &mut self.apart;
        self.pending.retain(|envelope| {
            let stays = free.len() >= max || !apart.admit(envelope);
            if !stays {
                free.push(envelope.clone());
            }
            stays
        });
        free
    }

    /// The next pending event that is the first of its key, in turn.
    fn probe(&mut self) -> Option<Envelope> {
        let mut seen = HashSet::new();
        let firsts: Vec<usize> = (0..self.pending.len())
            .filter(|&at| !self.apart.blocks(&self.pending[at]))
            .filter(|&at| seen.insert(order_key(&self.pending[at])))
            .collect();
        let at = *firsts.iter().find(|&&at| at >= self.probe_from).or(firsts.first())?;
        self.probe_from = at + 1;
        Some(self.pending[at].clone())
    }

    /// Gives back what is blocked, if it leaves no room to lease anything else, and nothing but
    /// another event can show what becomes of those that block it.
    async fn give_back_blocked(&mut self) {
        let full = self.shared.room.available_permits() == 0;
        if self.queue_ended || !full || !self.apart.needs_others(self.shared.calls.last_written()) {
            return;
        }
        let blocked = self.pending.iter().filter(|envelope| self.apart.blocks(envelope));
        let blocked: Vec<Envelope> = blocked.take(self.apart.given_back.room()).cloned().collect();
        if blocked.is_empty() {
            return;
        }
        let receipts: Vec<Receipt> = blocked.iter().map(|envelope| envelope.receipt).collect();
        let (lane, events) = (self.index, blocked.len());
        let pause = self.apart.given_back.pause();
        // Once before, for its answer may be lost, and once after, for it may take a while.
        self.shared.leftover.stay_away(pause);
        let released = self.shared.buffer.release(&receipts, pause).await;
        self.shared.leftover.stay_away(pause);
        if let Err(error) = released {
            tracing::warn!(lane, events, %error, "cannot give blocked events back; trying again");
            return;
        }
        tracing::debug!(lane, events, "gave blocked events back to make room for other keys");
        blocked.iter().for_each(|envelope| self.apart.given_back.append(envelope));
        let receipts: HashSet<Receipt> = receipts.into_iter().collect();
        self.pending.retain(|envelope| !receipts.contains(&envelope.receipt));
        self.shared.held[self.index].done(&blocked);
        self.shared.room.add_permits(events);
    }

    /// While events wait alone, those behind them stay pending, so all that came is taken then.
    fn take_queued(&mut self) {
        while (self.pending.len() < self.shared.options.batch_max || !self.apart.blocks_nothing())
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
}
