//! The audit of a move: what was accepted, held against what was settled, buried, or is still held.

use std::time::Duration;

use store::moves::{Heard, Start, Step};
use tokio::time::Instant;

use super::error::Error;
use super::leading::{LOOK_EVERY, Leader};
use super::ledger::{Evidence, Settled};

/// How long the audit waits for what is counted a little later (duplicates, each ten seconds).
const AUDIT_MAX: Duration = Duration::from_secs(30);

/// What a count came to.
#[derive(Debug, Default)]
pub struct Audit {
    /// Events that were held at the start, and those accepted since by the processes that went along, without
    /// `empty`.
    pub accepted: u64,
    /// Places that counted as held and turned out to hold no event.
    pub empty: u64,
    /// Events that were settled, found settled already, or buried, and those that are held.
    pub accounted: u64,
    /// Rows that are in the store more than once.
    pub double: u64,
    /// What the store shows of settled events.
    pub evidence: Evidence,
    /// Rows in the store beside those at the start.
    pub more_rows: u64,
    /// Events in the old buffer and in the new one.
    pub pending: [u64; 2],
    /// The processes that have not ended.
    pub live: Vec<Heard>,
}

impl Audit {
    fn new(start: Start, offered: u64, empty: u64, accounted: u64) -> Self {
        // A place that came after the start, and one that two processes read past, is none of the start's.
        let empty = empty.saturating_sub(start.empty).min(start.pending);
        let accepted = start.pending - empty + offered.saturating_sub(start.offered);
        Self { accepted, empty, accounted, ..Self::default() }
    }

    /// Accepted events that are not accounted for.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.accepted.saturating_sub(self.accounted)
    }

    /// Whether nothing is missing, and nothing is in the store twice.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.missing() == 0 && self.double == 0
    }
}

impl Leader {
    /// What there is before anything moves. What is on its way meanwhile is counted once or not at all, so
    /// that the audit never misses what was not lost.
    pub(super) async fn start(&self) -> Result<Start, Error> {
        let Settled { rows, duplicates, .. } = self.settled().await?;
        let first = self.heard().await?;
        let (empty, done) = (first.empty, first.done);
        let held = self.heard_after(Instant::now()).await?;
        let offered = self.heard_after(Instant::now()).await?.offered.iter().sum();
        let (pending, dead) = (held.pending.iter().sum(), held.dead.iter().sum());
        Ok(Start { settled: rows, pending, dead, duplicates, offered, empty, done })
    }

    /// Counts, for at most 30 s while something is missing. `None` where nothing has moved yet.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn audit(&self) -> Result<Option<(Step, Audit)>, Error> {
        let Some(recorded) = self.recorded().await? else { return Ok(None) };
        let start = self.moves.start(&recorded.pipeline).await?.unwrap_or_default();
        let end = Instant::now() + AUDIT_MAX;
        loop {
            let audit = self.count(start).await?;
            if audit.missing() == 0 || audit.live.is_empty() || Instant::now() >= end {
                return Ok(Some((recorded.step, audit)));
            }
            tokio::time::sleep(LOOK_EVERY * 10).await;
        }
    }

    /// What was accepted first, then what the buffers hold, then what is done with: an event that
    /// passes from one to the next meanwhile is counted twice rather than not at all.
    async fn count(&self, start: Start) -> Result<Audit, Error> {
        let offered: u64 = self.heard().await?.offered.iter().sum();
        let seen = self.heard_after(Instant::now()).await?;
        let evidence = self.ledger.evidence();
        let is_exact = evidence == Evidence::Events;
        let done = if is_exact { 0 } else { self.heard_after(Instant::now()).await?.done };
        let settled = self.settled().await?;
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let rows = since(settled.rows, start.settled);
        let of_store = rows
            + since(settled.duplicates, start.duplicates)
            + since(seen.dead.iter().sum(), start.dead);
        // Where rows are no count of events, either may be too low: the rows where events collapse, and what the
        // processes say where one was killed.
        let finished = if is_exact { of_store } else { of_store.max(since(done, start.done)) };
        let accounted = finished + seen.pending.iter().sum::<u64>();
        Ok(Audit {
            double: settled.double,
            evidence,
            more_rows: rows,
            pending: seen.pending,
            live: seen.live,
            ..Audit::new(start, offered, seen.empty, accounted)
        })
    }

    async fn settled(&self) -> Result<Settled, Error> {
        self.ledger.settled().await.map_err(Error::Uncounted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_held_no_event_is_neither_accepted_nor_missing() {
        let start = Start { pending: 10, offered: 5, empty: 100, ..Start::default() };
        let check = |offered, empty, accounted, expect: (u64, u64, u64)| {
            let audit = Audit::new(start, offered, empty, accounted);
            assert_eq!((audit.accepted, audit.empty, audit.missing()), expect);
        };
        check(5, 100, 10, (10, 0, 0));
        check(5, 104, 6, (6, 4, 0));
        check(5, 104, 5, (6, 4, 1));
        check(8, 104, 9, (9, 4, 0));
        // Places that came later: no more than were held are left out.
        check(8, 999, 3, (3, 10, 0));
        check(5, 0, 10, (10, 0, 0));
    }
}
