//! What became of a batch.

use std::time::Duration;

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Durable.
    Accepted,
    /// Not held, because there was no room: may be offered again.
    Refused,
    /// Not held, because it is bad.
    Rejected,
    /// Accepted or rejected: the answer gives the counts, but cuts the list of rejections.
    Unknown,
}

/// One bad event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Which field, and what is wrong with it.
    pub problem: String,
}

/// What became of a batch. `accepted + refused + rejected` is the size of the batch. Of the events
/// that were not rejected the first `accepted` are accepted and the rest refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// How many are durable now.
    pub accepted: usize,
    /// How many there was no room for.
    pub refused: usize,
    /// How many are bad.
    pub rejected: usize,
    /// The bad ones, in order; the list may be cut after its first so many.
    pub rejections: Vec<Rejection>,
    /// When offering the refused ones again makes sense.
    pub retry_after: Option<Duration>,
}

impl Offered {
    /// All of `count` accepted.
    #[must_use]
    pub fn accepted(count: usize) -> Self {
        Self { accepted: count, ..Self::default() }
    }

    /// All of `count` refused.
    #[must_use]
    pub fn refused(count: usize, retry_after: Duration) -> Self {
        Self { refused: count, retry_after: Some(retry_after), ..Self::default() }
    }

    /// One fate for each event of the batch, in its order.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        let count = self.accepted + self.refused + self.rejected;
        let mut fates = vec![Fate::Accepted; count];
        for rejection in &self.rejections {
            if let Some(fate) = fates.get_mut(rejection.index) {
                *fate = Fate::Rejected;
            }
        }
        let cut = self.rejections.len() < self.rejected;
        let listed_to = self.rejections.last().map_or(0, |rejection| rejection.index + 1);
        let mut accepted_left = self.accepted;
        for (index, fate) in fates.iter_mut().enumerate() {
            if *fate == Fate::Rejected {
                continue;
            }
            // Past the last rejection listed, any event may be one of those left out.
            if cut && index >= listed_to {
                *fate = Fate::Unknown;
            } else if accepted_left > 0 {
                accepted_left -= 1;
            } else {
                *fate = Fate::Refused;
            }
        }
        fates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepted: usize, refused: usize, rejected: usize, listed: &[usize], expected: &str) {
        let rejections =
            listed.iter().map(|&index| Rejection { index, problem: String::new() }).collect();
        let offered = Offered { accepted, refused, rejected, rejections, retry_after: None };
        let letter = |fate| match fate {
            Fate::Accepted => 'a',
            Fate::Refused => 'f',
            Fate::Rejected => 'r',
            Fate::Unknown => '?',
        };
        let got: String = offered.fates().into_iter().map(letter).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn every_event_of_a_batch_has_its_fate() {
        check(3, 0, 0, &[], "aaa");
        check(0, 2, 0, &[], "ff");
        check(2, 0, 2, &[1, 3], "arar");
        check(1, 2, 1, &[0], "raff");
    }

    #[test]
    fn past_a_cut_list_of_rejections_nothing_is_claimed() {
        check(2, 0, 2, &[1], "ar??");
        check(1, 0, 1, &[], "??");
    }
}
