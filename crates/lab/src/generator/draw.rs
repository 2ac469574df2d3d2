//! Random numbers that are the same for the same seed, on every machine and for good.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws. Ranges are made here and not with a library's distributions, whose values may change
/// between its versions: a seed in a bug report must go on meaning the same traffic.
#[derive(Debug)]
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Any 32 bits.
    pub(super) fn next(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number below `end`, which is at most 2^32. Multiply and shift favours some numbers by at
    /// most one part in 2^32 / `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let scaled = (u64::from(self.next()) * end as u64) >> 32;
        usize::try_from(scaled).expect("below an end that is itself a usize")
    }

    /// A number in [`from`, `to`), which must not be empty nor wider than 2^32.
    pub(super) fn within(&mut self, from: i64, to: i64) -> i64 {
        from + ((i64::from(self.next()) * (to - from)) >> 32)
    }
}
