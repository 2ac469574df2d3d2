//! Which letters are meant, and what is done with them.

use crate::{Buffer, DeadLetter, Error};

/// How many letters are handed over at once.
const BATCH_MAX: usize = 1_000;

/// Which letters are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// These, by [`DeadLetter::seq`].
    Seqs(Vec<u64>),
    /// Those whose reason contains this text.
    Reason(String),
    /// All.
    All,
}

/// There is no letter of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no dead letter {0}; `forebay dead list --all` lists them")]
pub struct Unknown(pub u64);

impl Choice {
    /// The numbers of the letters meant, in the order of `letters`.
    ///
    /// # Errors
    /// The first number that no letter has.
    pub fn of(&self, letters: &[DeadLetter]) -> Result<Vec<u64>, Unknown> {
        if let Self::Seqs(seqs) = self
            && let Some(seq) = seqs.iter().find(|seq| find(letters, **seq).is_err())
        {
            return Err(Unknown(*seq));
        }
        let meant = |letter: &&DeadLetter| match self {
            Self::Seqs(seqs) => seqs.contains(&letter.seq),
            Self::Reason(text) => letter.reason.contains(text.as_str()),
            Self::All => true,
        };
        Ok(letters.iter().filter(meant).map(|letter| letter.seq).collect())
    }
}

/// The letter of this number.
pub(super) fn find(letters: &[DeadLetter], seq: u64) -> Result<&DeadLetter, Unknown> {
    letters.iter().find(|letter| letter.seq == seq).ok_or(Unknown(seq))
}

/// What is done with letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are offered again.
    Replay,
    /// They are forgotten.
    Drop,
}

/// Why not all letters were changed.
#[derive(Debug, thiserror::Error)]
pub enum Changed {
    /// A letter is not there.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The buffer did not do it.
    #[error(transparent)]
    Buffer(#[from] Error),
    /// A stop came in between, after so many.
    #[error("{0} letters were changed before the signal")]
    Stopped(usize),
}

/// Changes the letters of `buffer` that `choice` means, a thousand at once, until `is_stopped`. Returns how many.
///
/// # Errors
/// See [`Changed`]. Letters that were changed until then stay so.
pub async fn change(
    buffer: &dyn Buffer,
    choice: &Choice,
    change: Change,
    is_stopped: impl Fn() -> bool,
) -> Result<usize, Changed> {
    let dead = buffer.dead_letters();
    let mut letters = Vec::new();
    loop {
        let from = letters.last().map_or(0, |letter: &DeadLetter| letter.seq + 1);
        let page = dead.list(from, BATCH_MAX).await?;
        if page.is_empty() {
            break;
        }
        letters.extend(page);
    }
    let mut done = 0;
    for seqs in choice.of(&letters)?.chunks(BATCH_MAX) {
        if is_stopped() {
            return Err(Changed::Stopped(done));
        }
        done += match change {
            Change::Replay => dead.replay(seqs).await?,
            Change::Drop => dead.drop_letters(seqs).await?,
        };
    }
    Ok(done)
}
