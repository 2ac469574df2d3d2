//! Events that went back to the buffer because an earlier event of their key waits alone.
//!
//! Events behind one that waits alone are held. Where they fill all the room there is, nothing else
//! can be leased, and nothing shows whether the store takes other events. So they are given back for
//! a while, and the order of each key is kept here: an event settles only after those before it,
//! which come again from the buffer.
//!
//! The order holds while the lane's process has the key (see [`Envelope::term`]). In another term,
//! other processes may have settled what was given back, and it may never come here again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use buffer::Envelope;
use tokio::time::Instant;

use crate::dispatcher::order_key;

/// Most events of a lane that may be in the buffer in this way: past it, they fill the room again.
const GIVEN_BACK_MAX: usize = 100_000;
/// How long the first of them stay away. Meanwhile events of other keys can be leased.
const PAUSE: Duration = Duration::from_secs(1);
/// For each so many that are away, others stay away for one more [`PAUSE`]: a longer line of one key
/// takes longer to be read to its end.
const MORE_EACH: usize = 10_000;

/// How long the next event of a line may stay away. A buffer that lost it (its server went back in time, or
/// deletes what is old) would block the key until a restart.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// What was given back of each key, and what came behind it.
#[derive(Default)]
pub(super) struct GivenBack {
    lines: HashMap<Vec<u8>, Line>,
    /// Events in all lines.
    count: usize,
}

/// The order of one key: the numbers of its events, of which the first was given back.
struct Line {
    term: u64,
    order: VecDeque<u64>,
    known: HashSet<u64>,
    /// Since when the first one has been the next.
    since: Instant,
}

impl Line {
    fn new(term: u64) -> Self {
        Self { term, order: VecDeque::new(), known: HashSet::new(), since: Instant::now() }
    }

    /// Whether the line still says something of an event of this term.
    fn holds(&self, term: u64) -> bool {
        self.term == term && self.since.elapsed() < AWAY_MAX
    }
}

impl GivenBack {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many more may be given back.
    pub(super) fn room(&self) -> usize {
        GIVEN_BACK_MAX.saturating_sub(self.count)
    }

    /// How long those stay away that are given back now.
    pub(super) fn pause(&self) -> Duration {
        PAUSE * u32::try_from(1 + self.count / MORE_EACH).expect("their number is bounded")
    }

    /// Whether an earlier event of the key has not come again yet.
    pub(super) fn precedes(&self, envelope: &Envelope) -> bool {
        let line = self.lines.get(order_key(envelope)).filter(|line| line.holds(envelope.term));
        line.is_some_and(|line| line.order.front() != Some(&envelope.receipt.seq))
    }

    /// Puts `envelope` at the end of its key's line, if it is not in it.
    pub(super) fn append(&mut self, envelope: &Envelope) {
        let term = envelope.term;
        let line =
            self.lines.entry(order_key(envelope).to_vec()).or_insert_with(|| Line::new(term));
        if !line.holds(term) {
            self.count -= line.order.len();
            *line = Line::new(term);
        }
        if line.known.insert(envelope.receipt.seq) {
            line.order.push_back(envelope.receipt.seq);
            self.count += 1;
        }
    }

    /// Whether `envelope` is the next of its key. Takes it out of the line then; if it is not, it is
    /// in the line afterwards.
    pub(super) fn take(&mut self, envelope: &Envelope) -> bool {
        let key = order_key(envelope);
        let Some(line) = self.lines.get_mut(key) else { return true };
        if !line.holds(envelope.term) {
            if line.term == envelope.term {
                tracing::warn!(
                    seconds = AWAY_MAX.as_secs(),
                    "an event that was given back to the buffer did not come again; later events of its key \
                     settle without it"
                );
            }
            self.count -= line.order.len();
            self.lines.remove(key);
            return true;
        }
        if line.order.front() != Some(&envelope.receipt.seq) {
            self.append(envelope);
            return false;
        }
        line.order.pop_front();
        line.since = Instant::now();
        line.known.remove(&envelope.receipt.seq);
        self.count -= 1;
        if line.order.is_empty() {
            self.lines.remove(key);
        }
        true
    }

    /// `envelope` was taken, and waits again, before those that are still in the line.
    pub(super) fn put_first(&mut self, envelope: &Envelope) {
        if let Some(line) = self.lines.get_mut(order_key(envelope))
            && line.term == envelope.term
            && line.known.insert(envelope.receipt.seq)
        {
            line.order.push_front(envelope.receipt.seq);
            line.since = Instant::now();
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use buffer::Receipt;
    use model::Event;

    use super::*;

    fn envelope(key: &str, seq: u64, term: u64) -> Envelope {
        let event = Event::new(b"id", key.as_bytes(), b"").unwrap();
        let receipt = Receipt { seq, epoch: 1 };
        Envelope { receipt, accepted_at_ms: 0, attempt: 1, term, shard: None, event }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_never_comes_again_blocks_its_key_for_a_bounded_time() {
        let mut given_back = GivenBack::default();
        given_back.append(&envelope("a", 1, 1));
        given_back.append(&envelope("a", 2, 1));
        assert!(!given_back.take(&envelope("a", 2, 1)));
        tokio::time::advance(AWAY_MAX).await;
        assert!(!given_back.precedes(&envelope("a", 2, 1)));
        assert!(given_back.take(&envelope("a", 2, 1)));
        assert!(given_back.is_empty() && given_back.room() == GIVEN_BACK_MAX);
    }

    #[test]
    fn an_event_settles_after_those_before_it_in_whatever_order_they_come() {
        let mut given = GivenBack::default();
        [2, 3].iter().for_each(|&seq| given.append(&envelope("a", seq, 0)));
        assert!(!given.take(&envelope("a", 4, 0)), "it is behind 2 and 3");
        assert!(!given.take(&envelope("a", 3, 0)), "it is behind 2");
        assert!(given.take(&envelope("b", 9, 0)), "another key is not behind them");
        assert!(given.take(&envelope("a", 2, 0)));
        assert!(given.precedes(&envelope("a", 5, 0)) && !given.precedes(&envelope("a", 3, 0)));
        given.put_first(&envelope("a", 2, 0));
        assert!(!given.take(&envelope("a", 3, 0)), "2 waits again");
        for seq in [2, 3, 4] {
            assert!(given.take(&envelope("a", seq, 0)), "{seq}");
        }
        assert!(given.is_empty() && given.take(&envelope("a", 5, 0)));
        assert_eq!(given.room(), GIVEN_BACK_MAX);
    }

    #[test]
    fn another_term_waits_for_nothing_of_an_earlier_one() {
        let mut given = GivenBack::default();
        given.append(&envelope("a", 2, 1));
        given.append(&envelope("a", 3, 1));
        assert!(given.precedes(&envelope("a", 7, 1)) && !given.precedes(&envelope("a", 7, 2)));
        given.append(&envelope("a", 8, 2));
        assert!(given.precedes(&envelope("a", 9, 2)));
        assert!(given.take(&envelope("a", 7, 3)));
        assert!(given.is_empty());
        assert_eq!(given.room(), GIVEN_BACK_MAX);
    }

    #[test]
    fn more_of_them_stay_away_longer() {
        let mut given = GivenBack::default();
        assert_eq!(given.pause(), PAUSE);
        (0..25_000).for_each(|seq| given.append(&envelope("a", seq, 0)));
        assert_eq!((given.pause(), given.room()), (3 * PAUSE, 75_000));
    }
}
