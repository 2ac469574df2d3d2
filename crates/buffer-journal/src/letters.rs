//! The dead letters of an open journal.

use async_trait::async_trait;
use buffer::{Buffer as _, DeadLetter, DeadLetters, Error};
use model::Event;

use crate::JournalBuffer;
use crate::replay::NOWHERE;

/// Letters offered again at once.
const BATCH: usize = 10;

#[async_trait]
impl DeadLetters for JournalBuffer {
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.inner.dead.list(from, max)
    }

    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error> {
        self.replay_now(seqs).await
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        let dropped = self.inner.dead.forget(seqs, self.inner.clock.now_ms()).await?;
        self.inner.trim_dead().await?;
        Ok(dropped)
    }
}

impl JournalBuffer {
    async fn replay_now(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut seqs = seqs.to_vec();
        seqs.sort_unstable();
        seqs.dedup();
        let (dead, mut replayed) = (&self.inner.dead, 0);
        for some in seqs.chunks(BATCH) {
            let letters = dead.get(some)?;
            if letters.is_empty() {
                continue;
            }
            let known: Vec<u64> = letters.iter().map(|letter| letter.seq).collect();
            let events: Vec<Event> = letters.into_iter().map(|letter| letter.event).collect();
            let now_ms = self.inner.clock.now_ms();
            dead.begin(&known, self.inner.log.usage().next_seq, now_ms).await?;
            let offered = self.offer(&events).await;
            if let Err(Error::Full { .. } | Error::TooMany { .. } | Error::Closed) = &offered {
                // Nothing is held. Without this note, a later start looks for events that are nowhere.
                let noted = dead.begin(&known, NOWHERE, now_ms).await;
                offered.and(noted)?;
            } else {
                offered?;
            }
            replayed += dead.forget(&known, now_ms).await?;
        }
        self.inner.trim_dead().await?;
        Ok(replayed)
    }
}
