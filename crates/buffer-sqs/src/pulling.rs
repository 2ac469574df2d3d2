//! Leases: receives that are under way, and what they brought.
//!
//! A receive is a task of its own, so that one who stops waiting loses nothing: what it brings is given
//! to the next who asks, or back.

use std::sync::Arc;
use std::time::Duration;

use buffer::{Envelope, Error};
use tokio::time::{Instant, sleep, timeout};

use crate::api::{BATCH_MAX, Receive, Told};
use crate::client::{Failure, hex};
use crate::message::Message;
use crate::shared::Shared;
use crate::state::Came;

/// How long SQS waits for a first message. Closing waits for that long, too.
const POLL_SECONDS: u64 = 2;
/// Most receives under way at once.
const POLLS_MAX: usize = 8;
/// How often a receive whose answer was lost is made again, in FIFO queues, where it then brings the
/// same.
const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);
/// How old a failure may be for somebody who asks now.
const FAILURE_AGE_MAX: Duration = Duration::from_secs(1);
/// Between two looks while nothing can be received, because enough is held.
const HELD_PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    pub(crate) async fn lease_now(
        self: &Arc<Self>,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Envelope>, Error> {
        let started = Instant::now();
        loop {
            // Made before looking, so that what happens between looking and sleeping wakes us.
            let changed = self.changed.notified();
            if self.is_closed() || max == 0 {
                return Ok(Vec::new());
            }
            {
                let mut state = self.state();
                let given = state.give(max, Instant::now());
                if !given.is_empty() {
                    let more = state.has_fetched();
                    drop(state);
                    if more {
                        self.changed.notify_waiters();
                    }
                    return Ok(given);
                }
                let failed = state.failed.take();
                if let Some((at, error)) = failed
                    && at.elapsed() < FAILURE_AGE_MAX
                {
                    return Err(error);
                }
            }
            self.poll(max);
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            let pause = if self.has_room() { left } else { left.min(HELD_PAUSE) };
            // Either way we look again: a wake-up and a passed deadline ask for the same thing.
            let _ = timeout(pause, changed).await;
        }
    }

    fn has_room(&self) -> bool {
        let state = self.state();
        state.held() + state.polls * BATCH_MAX < self.options.in_flight_max
    }

    /// Begins as many receives as make sense for `max` events, if they are not under way.
    fn poll(self: &Arc<Self>, max: usize) {
        loop {
            let (count, wait) = {
                let mut state = self.state();
                let wanted = max.div_ceil(BATCH_MAX).min(state.width);
                let asked_for = state.held() + state.polls * BATCH_MAX;
                let room = self.options.in_flight_max.saturating_sub(asked_for);
                if state.polls >= wanted || room == 0 {
                    return;
                }
                // One waits for what comes; the others only look whether there is more.
                let wait = if state.polls == 0 { POLL_SECONDS } else { 0 };
                state.polls += 1;
                (max.min(room).min(BATCH_MAX), wait)
            };
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.receive(count, wait).await });
        }
    }

    async fn receive(self: Arc<Self>, count: usize, wait: u64) {
        let received = self.receive_messages(count, wait).await;
        let again = {
            let mut state = self.state();
            state.polls -= 1;
            match received {
                Ok((came, hidden_until)) => {
                    let full = came.len() == count && count == BATCH_MAX;
                    state.width = if full { (state.width * 2).min(POLLS_MAX) } else { 1 };
                    state.came(came, Instant::now(), hidden_until)
                }
                Err(error) => {
                    state.width = 1;
                    state.failed = Some((Instant::now(), error));
                    Vec::new()
                }
            }
        };
        self.changed.notify_waiters();
        self.kept.notify_one();
        if !again.is_empty() {
            // It comes again if that fails, and is deleted again.
            let _ = self.client.delete(&self.queue, &again).await;
        }
        if self.is_closed() {
            let fetched = self.state().take_fetched();
            self.give_back(fetched).await;
        }
    }

    async fn receive_messages(
        &self,
        count: usize,
        wait: u64,
    ) -> Result<(Vec<Came>, Instant), Error> {
        self.ensure_open().await?;
        let attempt = self.options.fifo().then(|| hex(&rand::random::<u128>().to_be_bytes()));
        let hide = self.options.visibility_seconds();
        let how = Receive { max: count, hide, wait, attempt: attempt.as_deref() };
        let mut tries = 1;
        let (asked_at, messages) = loop {
            let asked_at = Instant::now();
            match self.client.receive(&self.queue, how).await {
                Ok(messages) => break (asked_at, messages),
                // So much is in flight, by all processes, that SQS gives out no more.
                Err(refused) if refused.is("OverLimit") => break (asked_at, Vec::new()),
                Err(Failure::Lost(_)) if attempt.is_some() && tries < TRIES_MAX => {
                    sleep(PAUSE * tries).await;
                    tries += 1;
                }
                Err(failure) => return Err(failure.error()),
            }
        };
        // Hidden from when SQS sent them, which was before they were here.
        let visibility = self.visibility();
        let hidden_until = Instant::now() + visibility - asked_at.elapsed().min(visibility / 4);
        let mut came = Vec::with_capacity(messages.len());
        for message in messages {
            came.extend(self.read(message).await);
        }
        Ok((came, hidden_until))
    }

    /// The event in a message; none if it was too long for one, and is buried.
    async fn read(&self, message: Message) -> Option<Came> {
        let read = message.read(&self.options.fields);
        let came = Came {
            receives: message.receives(),
            accepted_at_ms: message.sent_at_ms(),
            message_id: message.message_id,
            handle: message.receipt_handle,
            event: read.event,
        };
        let Some(bytes) = read.cut else { return Some(came) };
        let reason = model::event::too_long(bytes);
        let letter = self.letter(&came.message_id, &came.event, came.accepted_at_ms, 0, &reason);
        match self.send_letters(vec![letter]).await {
            Ok(()) => {
                let told = self.client.delete(&self.queue, &[came.handle]).await;
                if told.contains(&Told::Done) {
                    self.room().done(1);
                }
                None
            }
            // There is no room for it: it is delivered as it was cut off.
            Err(_) => Some(came),
        }
    }

    /// Ends all waiting and gives back what nobody was given.
    pub(crate) async fn close_now(&self) {
        if self.set_closed() {
            return;
        }
        self.changed.notify_waiters();
        let patience = Duration::from_secs(POLL_SECONDS) + Duration::from_secs(1);
        let ended = async {
            loop {
                let changed = self.changed.notified();
                if self.state().polls == 0 {
                    return;
                }
                changed.await;
            }
        };
        // One that takes longer gives back what it brings by itself.
        let _ = timeout(patience, ended).await;
        let fetched = self.state().take_fetched();
        self.give_back(fetched).await;
    }
}
