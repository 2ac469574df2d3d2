//! Events that went back to the buffer, and the order of their keys.
//!
//! A lane gives events back because an earlier event of their key waits alone; a caller, because it lost a lease.
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
/// How often all lines are looked at for those that have been waiting longer than [`AWAY_MAX`].
const LOOK_EACH: Duration = Duration::from_secs(10);

/// What was given back of each key, and what came behind it.
pub(crate) struct GivenBack {
    lines: HashMap<Vec<u8>, Line>,
    /// Events in all lines.
    count: usize,
    looked_at: Instant,
}

impl Default for GivenBack {
    fn default() -> Self {
        Self { lines: HashMap::new(), count: 0, looked_at: Instant::now() }
    }
}

/// The order of one key: the numbers of its events, of which the first was given back.
struct Line {
    term: u64,
    order: VecDeque<u64>,
    known: HashSet<u64>,
    /// Events before the line whose leases this lane lost. They settle first where they come again.
    ahead: HashSet<u64>,
    /// Since when the first one has been the next.
    since: Instant,
}

impl Line {
    fn new(term: u64) -> Self {
        let (order, known, ahead) = (VecDeque::new(), HashSet::new(), HashSet::new());
        Self { term, order, known, ahead, since: Instant::now() }
    }

    /// Whether the line still says something of an event of this term.
    fn holds(&self, term: u64) -> bool {
        self.term == term
    }

    /// Whether no event of the line has to settle before this one.
    fn is_next(&self, seq: u64) -> bool {
        self.ahead.contains(&seq) || self.order.front() == Some(&seq)
    }
}

impl GivenBack {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many more may be given back.
    pub(crate) fn room(&self) -> usize {
        GIVEN_BACK_MAX.saturating_sub(self.count)
    }

    /// How long those stay away that are given back now.
    pub(crate) fn pause(&self) -> Duration {
        PAUSE * u32::try_from(1 + self.count / MORE_EACH).expect("their number is bounded")
    }

    /// Whether an earlier event of the key has not come again yet.
    pub(crate) fn precedes(&self, envelope: &Envelope) -> bool {
        let line = self.lines.get(order_key(envelope)).filter(|line| line.holds(envelope.term));
        line.is_some_and(|line| !line.is_next(envelope.receipt.seq))
    }

    /// Puts `envelope` at the end of its key's line, if it is not in it or before it.
    pub(crate) fn append(&mut self, envelope: &Envelope) {
        let term = envelope.term;
        let line =
            self.lines.entry(order_key(envelope).to_vec()).or_insert_with(|| Line::new(term));
        if !line.holds(term) {
            self.count -= line.order.len();
            *line = Line::new(term);
        }
        let seq = envelope.receipt.seq;
        if !line.ahead.contains(&seq) && line.known.insert(seq) {
            line.order.push_back(seq);
            self.count += 1;
        }
    }

    /// Whether `envelope` is the next of its key. Takes it out of the line then; if it is not, it is
    /// in the line afterwards.
    pub(crate) fn take(&mut self, envelope: &Envelope) -> bool {
        let key = order_key(envelope);
        let Some(line) = self.lines.get_mut(key) else { return true };
        if !line.holds(envelope.term) {
            self.forget(key);
            return true;
        }
        if line.ahead.remove(&envelope.receipt.seq) {
            return true;
        }
        if !line.is_next(envelope.receipt.seq) {
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

    /// The lease of `envelope` was lost while it was tried, before the line of its key. It may come again or not.
    pub(crate) fn lose(&mut self, envelope: &Envelope) {
        let (key, seq) = (order_key(envelope), envelope.receipt.seq);
        let line = self.lines.get_mut(key).filter(|line| line.holds(envelope.term));
        let Some(line) = line else { return };
        line.ahead.insert(seq);
        // A later lease of it may have been given back.
        if line.known.remove(&seq) {
            line.order.retain(|one| *one != seq);
            self.count -= 1;
            if line.order.is_empty() {
                self.lines.remove(key);
            }
        }
    }

    /// `envelope` is released: puts it at the end of its key's line, if there is one.
    pub(crate) fn follow(&mut self, envelope: &Envelope) {
        if self.precedes(envelope) {
            self.append(envelope);
        }
    }

    /// Drops the line of `key`.
    fn forget(&mut self, key: &[u8]) {
        if let Some(line) = self.lines.remove(key) {
            self.count -= line.order.len();
        }
    }

    /// When [`GivenBack::expire`] has to look at the lines again; `None` where there is none.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        (!self.lines.is_empty()).then(|| self.looked_at + LOOK_EACH)
    }

    /// Drops the lines whose next event has been away longer than [`AWAY_MAX`], and returns their
    /// keys. Such an event is lost, or another process has its key now. The time does not run while
    /// an earlier event of the key waits here, as `waits` says. Looks once in [`LOOK_EACH`].
    pub(crate) fn expire(&mut self, now: Instant, waits: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        if self.lines.is_empty() || now < self.looked_at + LOOK_EACH {
            return Vec::new();
        }
        self.looked_at = now;
        let mut expired = Vec::new();
        for (key, line) in &mut self.lines {
            if waits(key) {
                line.since = now;
            } else if now.duration_since(line.since) >= AWAY_MAX {
                expired.push(key.clone());
            }
        }
        expired.iter().for_each(|key| self.forget(key));
        if !expired.is_empty() {
            tracing::warn!(
                keys = expired.len(),
                seconds = AWAY_MAX.as_secs(),
                "events that were given back to the buffer did not come again; later events of their keys \
                 settle without them"
            );
        }
        expired
    }

    /// `envelope` was taken, and waits again, before those that are still in the line.
    pub(crate) fn put_first(&mut self, envelope: &Envelope) {
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
        assert_eq!(given_back.expire(Instant::now(), |_| false), [b"a"]);
        assert!(!given_back.precedes(&envelope("a", 2, 1)));
        assert!(given_back.take(&envelope("a", 2, 1)));
        assert!(given_back.is_empty() && given_back.room() == GIVEN_BACK_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_of_keys_that_never_come_here_again_make_room_after_a_bounded_time() {
        let mut given_back = GivenBack::default();
        (0..GIVEN_BACK_MAX as u64).for_each(|seq| given_back.append(&envelope("gone", seq, 1)));
        assert_eq!(given_back.room(), 0);
        tokio::time::advance(AWAY_MAX - LOOK_EACH).await;
        assert!(given_back.expire(Instant::now(), |_| false).is_empty());
        tokio::time::advance(LOOK_EACH).await;
        assert_eq!(given_back.next_look(), Some(Instant::now()));
        assert_eq!(given_back.expire(Instant::now(), |_| false), [b"gone"]);
        assert!(given_back.is_empty() && given_back.room() == GIVEN_BACK_MAX);
        assert_eq!(given_back.next_look(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_keeps_its_place_while_an_earlier_event_waits_here() {
        let mut given_back = GivenBack::default();
        given_back.append(&envelope("a", 2, 1));
        tokio::time::advance(2 * AWAY_MAX).await;
        assert!(given_back.expire(Instant::now(), |key| key == b"a").is_empty());
        tokio::time::advance(AWAY_MAX - LOOK_EACH).await;
        assert!(given_back.expire(Instant::now(), |_| false).is_empty());
        assert!(given_back.precedes(&envelope("a", 3, 1)));
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
    fn an_event_whose_lease_was_lost_settles_before_the_line_and_blocks_nothing_if_it_stays_away() {
        for comes_again in [true, false] {
            let mut given = GivenBack::default();
            [2, 3, 1].iter().for_each(|&seq| given.append(&envelope("a", seq, 0)));
            given.lose(&envelope("a", 1, 0));
            [1, 3, 4].iter().for_each(|&seq| given.follow(&envelope("a", seq, 0)));
            assert!(given.precedes(&envelope("a", 4, 0)) && !given.precedes(&envelope("a", 1, 0)));
            assert!(!comes_again || given.take(&envelope("a", 1, 0)));
            assert!(!given.take(&envelope("a", 5, 0)), "it is behind 2 to 4");
            for seq in [2, 3, 4, 5] {
                assert!(given.take(&envelope("a", seq, 0)), "{seq}");
            }
            assert!(given.is_empty() && given.room() == GIVEN_BACK_MAX);
        }
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
