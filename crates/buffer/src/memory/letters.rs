//! The dead letters of a memory buffer.

use std::collections::BTreeSet;

use async_trait::async_trait;
use model::Event;

use super::Memory;
use crate::{DeadLetter, DeadLetters, Error};

#[async_trait]
impl DeadLetters for Memory {
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.state().dead.range(from..).take(max).map(|(_, letter)| letter.clone()).collect())
    }

    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut state = self.state();
        let known: BTreeSet<u64> =
            seqs.iter().copied().filter(|seq| state.dead.contains_key(seq)).collect();
        let events: Vec<Event> = known.iter().map(|seq| state.dead[seq].event.clone()).collect();
        state.offer(&events, self.clock.now_ms())?;
        for seq in &known {
            state.dead.remove(seq);
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(known.len())
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut state = self.state();
        Ok(seqs.iter().filter(|seq| state.dead.remove(seq).is_some()).count())
    }
}
