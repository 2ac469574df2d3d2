//! What becomes of leased events: ack, release, bury, extend.

use std::time::Duration;

use buffer::{Error, Receipt};
use tokio::time::Instant;

use crate::api::Told;
use crate::client::Failure;
use crate::shared::{Shared, full};
use crate::state::State;

/// The first reason why something was not done.
fn failure(told: &[Told]) -> Option<Error> {
    told.iter().find_map(|told| match told {
        Told::Failed(why) => Some(Error::Unavailable(why.clone())),
        Told::Done | Told::Stale => None,
    })
}

impl Shared {
    pub(crate) async fn ack_now(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        let found = self.state().find(receipts.iter().copied());
        let (seqs, handles): (Vec<u64>, Vec<String>) =
            found.into_iter().map(|(seq, held)| (seq, held.handle)).unzip();
        self.delete_these(&seqs, &handles).await
    }

    async fn delete_these(&self, seqs: &[u64], handles: &[String]) -> Result<usize, Error> {
        if seqs.is_empty() {
            return Ok(0);
        }
        let told = self.client.delete(&self.queue, handles).await;
        let mut done = 0;
        {
            let mut state = self.state();
            for (seq, told) in seqs.iter().zip(&told) {
                match told {
                    Told::Done => {
                        done += 1;
                        state.acked(*seq);
                    }
                    Told::Stale => state.gone(*seq, None),
                    Told::Failed(_) => {}
                }
            }
        }
        self.room().done(done as u64);
        self.changed.notify_waiters();
        failure(&told).map_or(Ok(done), Err)
    }

    pub(crate) async fn release_now(
        &self,
        receipts: &[Receipt],
        delay: Duration,
    ) -> Result<usize, Error> {
        let found = self.state().find(receipts.iter().copied());
        if found.is_empty() {
            return Ok(0);
        }
        let now = Instant::now();
        let seconds = delay.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        let handles: Vec<(String, u64)> = found
            .iter()
            .map(|(_, held)| (held.handle.clone(), seconds.min(State::hide_max(held, now))))
            .collect();
        let told = self.client.hide(&self.queue, &handles).await;
        let mut done = 0;
        {
            let mut state = self.state();
            for (((seq, _), (_, seconds)), told) in found.iter().zip(&handles).zip(&told) {
                match told {
                    Told::Done => {
                        done += 1;
                        let later = (*seconds > 0).then(|| now + Duration::from_secs(*seconds));
                        state.gone(*seq, later);
                    }
                    Told::Stale => state.gone(*seq, None),
                    Told::Failed(_) => {}
                }
            }
        }
        self.changed.notify_waiters();
        failure(&told).map_or(Ok(done), Err)
    }

    /// Sends letters, then deletes: a crash in between leaves an event both dead and here, never
    /// neither. Sent again after that, it is the same letter, by the message it came from.
    pub(crate) async fn bury_now(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        let found = self.state().find(burials.iter().map(|(receipt, _)| *receipt));
        if found.is_empty() {
            return Ok(0);
        }
        let about = self.client.about(&self.dead).await.map_err(Failure::error)?;
        let dead = about.visible + about.delayed + about.in_flight;
        let dead_max = self.options.dead_max;
        if dead + found.len() as u64 > dead_max as u64 {
            return Err(full(format!("dead_max = {dead_max} dead letters")));
        }
        let mut letters = Vec::with_capacity(found.len());
        for (seq, held) in &found {
            let named = burials.iter().find(|(receipt, _)| receipt.seq == *seq);
            let reason = named.map_or("", |(_, reason)| reason);
            letters.push(self.letter(
                &held.message_id,
                &held.event,
                held.accepted_at_ms,
                held.attempt,
                reason,
            ));
        }
        self.send_letters(letters).await?;
        let (seqs, handles): (Vec<u64>, Vec<String>) =
            found.into_iter().map(|(seq, held)| (seq, held.handle)).unzip();
        self.delete_these(&seqs, &handles).await
    }

    /// Moves deadlines. SQS is asked at once only where it hides a message no longer, or for much
    /// longer than is asked for; otherwise the keeper tells it at half time.
    pub(crate) async fn extend_now(
        &self,
        receipts: &[Receipt],
        by: Duration,
    ) -> Result<usize, Error> {
        let now = Instant::now();
        let until = now.checked_add(by).unwrap_or(now + Duration::from_secs(86_400 * 365));
        let mut extended = 0;
        let mut asking: Vec<(u64, String, u64)> = Vec::new();
        {
            let mut state = self.state();
            for (seq, held) in state.find(receipts.iter().copied()) {
                match state.extend(seq, until, now) {
                    None => extended += 1,
                    Some(handle) => {
                        let visibility = self.options.visibility_seconds();
                        let seconds = u64::try_from(by.as_millis().div_ceil(1000));
                        let seconds = seconds.unwrap_or(u64::MAX).min(visibility);
                        asking.push((seq, handle, seconds.min(State::hide_max(&held, now))));
                    }
                }
            }
        }
        self.kept.notify_one();
        if asking.is_empty() {
            return Ok(extended);
        }
        let handles: Vec<(String, u64)> =
            asking.iter().map(|(_, handle, seconds)| (handle.clone(), *seconds)).collect();
        let told = self.client.hide(&self.queue, &handles).await;
        {
            let mut state = self.state();
            for ((seq, _, seconds), told) in asking.iter().zip(&told) {
                match told {
                    Told::Done => {
                        extended += 1;
                        let hidden_until = now + Duration::from_secs(*seconds);
                        state.hidden(*seq, hidden_until, Some(until));
                    }
                    Told::Stale => state.gone(*seq, None),
                    Told::Failed(_) => {}
                }
            }
        }
        self.kept.notify_one();
        self.changed.notify_waiters();
        failure(&told).map_or(Ok(extended), Err)
    }
}
