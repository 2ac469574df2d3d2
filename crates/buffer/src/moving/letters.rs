//! The dead letters of both buffers, the source's first.

use async_trait::async_trait;
use model::route::Side;

use super::{Moving, TARGET};
use crate::{DeadLetter, DeadLetters, Error};

impl Moving {
    fn letters(&self, side: Side) -> &dyn DeadLetters {
        self.side(side).dead_letters()
    }
}

/// The numbers of one side, without its mark.
fn of(side: Side, seqs: &[u64]) -> Vec<u64> {
    let theirs = seqs.iter().filter(|seq| (**seq & TARGET == 0) == (side == Side::Source));
    theirs.map(|seq| seq & !TARGET).collect()
}

#[async_trait]
impl DeadLetters for Moving {
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        if from & TARGET == 0 {
            letters = self.letters(Side::Source).list(from, max).await?;
        }
        if letters.len() < max {
            let from = if from & TARGET == 0 { 0 } else { from & !TARGET };
            let more = self.letters(Side::Target).list(from, max - letters.len()).await?;
            let marked =
                more.into_iter().map(|letter| DeadLetter { seq: letter.seq | TARGET, ..letter });
            letters.extend(marked);
        }
        Ok(letters)
    }

    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut replayed = 0;
        for side in Side::BOTH {
            // Back into the buffer it is in: that one drops it and holds it in one step.
            replayed += self.letters(side).replay(&of(side, seqs)).await?;
        }
        Ok(replayed)
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut dropped = 0;
        for side in Side::BOTH {
            dropped += self.letters(side).drop_letters(&of(side, seqs)).await?;
        }
        Ok(dropped)
    }
}
